"""Who goes where: stratified, by group, in folds, from a file; and how often each class is drawn."""

import csv
import hashlib
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run, run_train
from support.slow import mostly_slow

from src.data.formats.digit_images import DIGITS_FILE
from src.data.samplers import EpochSampler, balancing_weights
from src.data.splits import cut, fold
from src.data.targets import Classes, Numbers, Tags, Targets
from src.settings.errors import ConfigError
from src.training.losses import FocalLoss, LogitAdjustedLoss, class_weights

FRACTIONS = {"val": 0.15, "test": 0.2}
DIGITS_CUT = {"train": "5fd9cd5a343f", "val": "0ed67d6621f5", "test": "eef80051dab9"}  # sha256 of the rows


def random_labels(kind: str, size: int = 600) -> np.ndarray:
    generator = np.random.default_rng(0)
    if kind == "classes":
        return generator.choice(5, size, p=[0.5, 0.3, 0.1, 0.07, 0.03])
    if kind == "tags":
        return (generator.random((size, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02]).astype(np.uint8)
    return generator.gamma(2, 10, (size, 2)).astype(np.float32)


def targets_of(labels: np.ndarray) -> Targets:
    kind = Classes if labels.ndim == 1 else Tags if labels.dtype == np.uint8 else Numbers
    return kind(labels, [str(k) for k in range(6)])


@pytest.mark.parametrize("kind", ["classes", "tags", "numbers"])
def test_parts_are_alike_complete_and_repeatable(kind: str) -> None:
    labels = random_labels(kind)
    strata = targets_of(labels).strata(np.arange(len(labels)))
    parts = cut(strata, FRACTIONS, seed=3)
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(600))
    assert len(parts["val"]) == pytest.approx(90, abs=6) and len(parts["test"]) == pytest.approx(120, abs=6)
    again, other = cut(strata, FRACTIONS, seed=3), cut(strata, FRACTIONS, seed=4)
    assert np.array_equal(parts["val"], again["val"]) and not np.array_equal(parts["val"], other["val"])
    if kind == "numbers":
        means = [labels[rows, 0].mean() for rows in parts.values()]
        assert max(means) - min(means) < 0.1 * labels[:, 0].mean()  # 1.9 standard errors of a random cut
        return
    members = np.eye(5)[labels] if kind == "classes" else labels
    for name, share in FRACTIONS.items():
        assert members[parts[name]].sum(axis=0) == pytest.approx(share * members.sum(axis=0), abs=1.6)


@pytest.mark.parametrize("kind", ["classes", "tags"])
def test_groups_are_never_cut_and_classes_still_spread(kind: str) -> None:
    labels = random_labels(kind)
    groups = np.random.default_rng(1).integers(0, 80, 600)
    parts = cut(labels, FRACTIONS, 0, groups)
    sides = [set(groups[rows]) for rows in parts.values()]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert len(parts["val"]) == pytest.approx(90, abs=12) and len(parts["test"]) == pytest.approx(120, abs=12)
    commonest = labels == 0 if kind == "classes" else labels[:, 0] == 1
    assert commonest[parts["val"]].mean() == pytest.approx(commonest.mean(), abs=0.08)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 10])
def test_small_classes_together_give_their_share(size: int) -> None:
    labels = np.repeat(np.arange(40), size)
    parts = cut(labels, {"val": 0.15, "test": 0.15}, seed=0)
    assert len(parts["val"]) == pytest.approx(0.15 * len(labels), abs=2)
    assert len(parts["test"]) == pytest.approx(0.15 * len(labels), abs=2)
    left = np.bincount(labels[parts["train"]], minlength=40)
    assert left.min() >= max(1, size - 3) and np.ptp(left) <= 2
    other = cut(labels, {"val": 0.15, "test": 0.15}, seed=1)
    assert set(labels[parts["val"]]) != set(labels[other["val"]]) or size > 5


def test_classes_of_one_image_stay_in_train() -> None:
    labels = np.r_[np.repeat(np.arange(40), 4), np.arange(40, 60)]
    parts = cut(labels, {"val": 0.15, "test": 0.15}, seed=0)
    assert set(labels[parts["train"]]) == set(range(60))
    assert len(parts["val"]) == len(parts["test"]) == 24
    alone = cut(np.arange(5), {"val": 0.15}, seed=0)
    assert len(alone["train"]) == 5 and len(alone["val"]) == 0


def test_the_digits_are_cut_as_ever() -> None:
    """Results that were measured depend on it."""
    with np.load(DIGITS_FILE) as file:
        labels = file["labels"].astype(np.int64)
    parts = cut(labels, {"val": 0.15, "test": 0.2}, seed=0)
    digests = {name: hashlib.sha256(rows.tobytes()).hexdigest()[:12] for name, rows in parts.items()}
    assert digests == DIGITS_CUT


def test_one_huge_group_leaves_no_part_empty() -> None:
    parts = cut(np.zeros(100, dtype=np.int64), FRACTIONS, 0, np.r_[np.zeros(98, dtype=np.int64), [1, 2]])
    assert sorted(map(len, parts.values())) == [1, 1, 98]
    with pytest.raises(ConfigError, match=r"2 groups cannot be cut into 3 parts .*data\.group_column=null"):
        cut(np.zeros(4, dtype=np.int64), FRACTIONS, 0, np.array([0, 0, 1, 1]))


@pytest.mark.parametrize("kind", ["classes", "tags", "numbers", "groups"])
def test_each_image_is_in_val_of_exactly_one_fold(kind: str) -> None:
    labels = random_labels("classes" if kind == "groups" else kind)
    groups = np.random.default_rng(1).integers(0, 80, 600) if kind == "groups" else None
    found = [fold(targets_of(labels), 5, index, 0, groups) for index in range(5)]
    assert np.array_equal(np.sort(np.concatenate([val for _, val in found])), np.arange(600))
    for train, val in found:
        assert len(train) + len(val) == 600 and not set(train) & set(val)
        assert len(val) == pytest.approx(120, abs=12 if kind != "classes" else 0)
    if kind == "classes":
        counts = [np.bincount(labels[val], minlength=5) for _, val in found]
        assert np.ptp(counts, axis=0).max() <= 1
    if groups is not None:
        assert all(not set(groups[train]) & set(groups[val]) for train, val in found)


@pytest.mark.slow
def test_folds_as_a_sweep(colors: Path, tmp_path: Path, command) -> None:
    """Five real runs: mean and spread in sweep.csv, one prediction for every image but those of the test split."""
    answer = command(
        "train", "sweep=folds", "data=folder", f"data.root={colors}", "trainer=cpu", "trainer.max_epochs=1",
        "data.image_size_px=32", "freeze=head_only", "augment=none", "data.num_workers=0", "logger=none",
        f"data.cache_dir={tmp_path}/cache", f"hydra.sweep.dir={tmp_path}/sweep", "+trainer.limit_train_batches=1",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    with (tmp_path / "sweep" / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["done"] * 5 + ["mean", "std", "min", "max"]
    scores = [float(row["val/acc"]) for row in rows[:5]]
    assert float(rows[5]["val/acc"]) == pytest.approx(np.mean(scores))
    assert float(rows[6]["val/acc"]) == pytest.approx(np.std(scores, ddof=1))
    assert re.search(r"(\d labels? of|No label of) 60 images", answer.out), answer.out  # those of test as well
    assert (tmp_path / "sweep" / "label_issues.html").is_file()
    with (tmp_path / "sweep" / "out_of_fold.csv").open(newline="") as file:
        merged = list(csv.DictReader(file))
    assert len(merged) == len({row["path"] for row in merged}) == 51
    assert Counter(row["fold"] for row in merged) == {"0": 11, "1": 10, "2": 10, "3": 10, "4": 10}
    right = [sum(r["label"] == r["prediction"] for r in merged if r["fold"] == str(k)) for k in range(5)]
    sizes = [11, 10, 10, 10, 10]
    by_job = {row["data.fold"]: float(row["val/acc"]) for row in rows[:5]}
    assert [by_job[str(k)] for k in range(5)] == pytest.approx([r / n for r, n in zip(right, sizes, strict=True)])
    assert "over 5 jobs" in answer.out


def test_a_split_file_repeats_the_splits_of_another_run(colors: Path, colors_run: Run, tmp_path: Path) -> None:
    split_file = tmp_path / "split.csv"
    lines = (colors_run.directory / "split.csv").read_text().splitlines()
    swapped = [line.replace(",test", ",x").replace(",val", ",test").replace(",x", ",val") for line in lines[1:-1]]
    left_out = lines[-1].rsplit(",", 1)[0] + ","
    split_file.write_text("\n".join([lines[0], *swapped, left_out]) + "\n")
    settings = ["data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer.max_epochs=1"]
    run = run_train(tmp_path / "run", *settings, f"data.split_file={split_file}", "+trainer.limit_train_batches=1")
    found = {row["path"]: row["split"] for row in run.csv("split.csv")}
    assert found == {line.split(",")[0]: line.split(",")[2] for line in swapped}
    split_file.write_text("\n".join([lines[0], *swapped[:-3]]))
    with pytest.raises(ConfigError, match="lacks 4 of 60 images"):
        run_train(tmp_path / "other", *settings, f"data.split_file={split_file}")


# ---------------------------------------------------------------------------------------------------------- imbalance


def test_balanced_sampling_draws_classes_alike_in_every_process() -> None:
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    weights = balancing_weights(labels)
    ranks = [list(EpochSampler(1000, True, 0, 1, rank, 3, weights)) for rank in range(3)]
    assert [len(rank) for rank in ranks] == [334] * 3
    drawn = labels[[position for rank in ranks for _, position in rank]]
    assert np.bincount(drawn) == pytest.approx([334] * 3, abs=45)  # three standard deviations
    one_process = [position for _, position in EpochSampler(1002, True, 0, 1, 0, 1, np.r_[weights, 0, 0])]
    together = [ranks[i % 3][i // 3][1] for i in range(1002)]
    assert together == one_process
    other_epoch = list(EpochSampler(1000, True, 0, 2, 0, 3, weights))
    assert [position for _, position in other_epoch] != [position for _, position in ranks[0]]
    several = balancing_weights(np.array([[1, 0], [1, 0], [1, 1], [0, 0]], dtype=np.uint8))
    assert several.tolist() == [1 / 3, 1 / 3, 1, 1 / 4]


def test_class_weights() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    counts_K = np.array([90, 10])
    assert class_weights("inverse", counts_K).tolist() == pytest.approx([100 / 180, 5])
    effective = class_weights("effective", counts_K)
    assert effective[1] / effective[0] == pytest.approx((1 - 0.999**90) / (1 - 0.999**10), rel=1e-4)
    assert (effective[labels]).mean() == pytest.approx(1, rel=1e-5)
    assert class_weights("inverse", np.array([90, 10, 0]))[2].isfinite()  # a class that train lacks
    assert class_weights("inverse", np.array([30, 10]), images=40).tolist() == pytest.approx([1 / 3, 3])


def test_weighted_focal_loss_at_gamma_0_is_weighted_cross_entropy() -> None:
    logits, labels, weight = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([1.0, 2.0, 5.0])
    expected = torch.nn.functional.cross_entropy(logits, labels, weight)
    assert torch.allclose(FocalLoss(0.0, weight)(logits, labels), expected)


def test_logit_adjusted_loss_learns_the_balanced_answer() -> None:
    """An image that nine times of ten shows class 0, where class 0 is nine times as common, says nothing."""
    labels = torch.tensor([0] * 9 + [1])
    loss = LogitAdjustedLoss(torch.tensor([90, 10]))
    logits = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        loss(logits.expand(10, 2), labels).backward()
        optimizer.step()
    assert torch.softmax(logits, 0).tolist() == pytest.approx([0.5, 0.5], abs=1e-3)
    outputs = torch.randn(10, 2)
    plain = torch.nn.functional.cross_entropy(outputs, labels)
    assert LogitAdjustedLoss(torch.tensor([90, 10]), tau=0.0)(outputs, labels) == plain != loss(outputs, labels)
    torch.testing.assert_close(loss(outputs, labels), loss(outputs, torch.eye(2)[labels]))  # as mixed images have it
    assert loss.eval()(outputs, labels) == plain


@pytest.mark.slow
def test_logit_adjusted_loss_from_the_command_line(colors: Path, tmp_path: Path, command) -> None:
    root = Path(shutil.copytree(colors, tmp_path / "colors"))
    for image in sorted((root / "blue").iterdir())[5:]:
        image.unlink()
    run = run_train(
        tmp_path / "run", "data=folder", f"data.root={root}", "data.image_size_px=32", "trainer.max_epochs=1",
        "loss=logit_adjusted", "data.val_fraction=0.2", "data.test_fraction=0",
    )  # fmt: skip
    counts = Counter(row["label"] for row in run.csv("split.csv") if row["split"] == "train")
    assert len(set(counts.values())) == 2
    shares = run.checkpoint()["state_dict"]["loss.log_shares"].exp()
    assert shares.tolist() == pytest.approx([counts[name] / sum(counts.values()) for name in sorted(counts)])
    answer = command("evaluate", f"ckpt={run.directory}", "split=val", "accelerator=cpu")
    assert answer.status == 0 and f"{run.metrics['val/loss']:.4f}" in answer.out, answer.err


@pytest.mark.parametrize("loss", mostly_slow(["cross_entropy", "focal"], "focal"))
def test_class_weights_from_the_command_line(colors: Path, tmp_path: Path, loss: str, command) -> None:
    run = run_train(
        tmp_path / "run", "data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer.max_epochs=1",
        f"loss={loss}", "loss.class_weights=effective", "+trainer.limit_train_batches=1",
    )  # fmt: skip
    assert run.checkpoint()["state_dict"]["loss.weight"].tolist() == pytest.approx([1, 1, 1])
    answer = command("evaluate", f"ckpt={run.directory}", "accelerator=cpu")
    assert answer.status == 0, answer.err
