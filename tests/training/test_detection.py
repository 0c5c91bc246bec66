"""What holds for every training holds for detectors: freezing, resuming, averages, losses that are not finite."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Run, compose, run_train, typed
from lightning import LightningModule, Trainer
from support.painted_boxes import QUICK, painted_boxes
from support.resumed import assert_same, assert_same_end
from support.slow import slow
from support.watching import TRUSTED, Stop, stopped, watched

from src.build.data import build_datamodule
from src.settings.errors import RunStopped
from src.train import train


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Settings of a training of six batches an epoch, on images of four shapes."""
    return (*QUICK, f"data.file={painted_boxes(tmp_path_factory.mktemp('painted'))}", "test=false")


def snapshot(task: LightningModule) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in task.model.net.state_dict().items()}


@pytest.mark.slow  # test_segmentation.py holds it of the same phases
def test_while_the_head_alone_trains_the_body_stands_still(boxes: tuple[str, ...], tmp_path: Path) -> None:
    """Statistics too, and it is in inference mode; then everything moves."""
    states: list[dict[str, torch.Tensor]] = []
    modes: list[set[bool]] = []

    def look(trainer: Trainer, task: LightningModule, _: Any, position: int) -> None:
        if position == 0:
            states.append(snapshot(task))
            modes.append({m.training for name, m in task.model.net.named_modules() if "backbone.body" in name})

    def end(trainer: Trainer, task: LightningModule) -> None:
        states.append(snapshot(task))

    with watched(on_train_batch_start=look, on_train_end=end) as watching:
        run = run_train(
            tmp_path / "run", *boxes, "backbone=mobilenet_v3_small", "backbone.weights=null", "freeze=head_then_all",
            "freeze.phases.0.epochs=1", *watching,
        )  # fmt: skip
    first, after_head, second, last = states
    body = [name for name in first if name.startswith("backbone.body")]
    assert any("running_mean" in name for name in body) and modes == [{False}, {True}]
    assert all(torch.equal(first[name], after_head[name]) for name in body)
    head = [name for name in first if name not in body]
    assert sum(torch.equal(first[name], after_head[name]) for name in head) < len(head) / 4
    assert sum(torch.equal(second[name], last[name]) for name in body) < len(body) / 4
    losses = [float(row["train/loss"]) for row in run.csv("epochs.csv")]
    assert len(losses) == 2 and all(0 < loss < 10 for loss in losses)
    assert "train/classification" in run.csv("epochs.csv")[0]


EVERYTHING = (
    *("freeze=head_then_all", "freeze.phases.0.epochs=1", "augment=boxes_strong", "augment.rotation_degrees=10"),
    *("augment.vertical_flip=0.5", "data.cache=images", "ema_decay=0.9", "soup=2", "param_groups.layer_decay=0.8"),
    *("data.balanced_sampling=true", "trainer.deterministic=true"),
)


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        slow(EVERYTHING, 9),
        slow(("head=faster_rcnn", "trainer.accumulate_grad_batches=2", "data.cache=images"), 2),
        slow(("freeze=head_only", "data.num_workers=2", "scheduler=plateau"), 9),
        slow(("head=retinanet", "freeze.phases=[{train: 50%, epochs: 1}, {train: all}]", "ema_decay=0.9"), 4),
    ],
)
def test_a_run_resumed_within_an_epoch_ends_as_the_uninterrupted_one(
    boxes: tuple[str, ...], tmp_path: Path, settings: tuple[str, ...], step: int
) -> None:
    """What sampling in the network draws, which images make a batch, and how they are changed, are the same."""
    common = [*boxes, "checkpoint_every_n_steps=2", f"data.cache_dir={tmp_path}/cache"]
    whole = run_train(tmp_path / "whole", *common, *settings)
    with stopped(step=step) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "run", *common, *settings, *stopping)
    assert Run(tmp_path / "run", None).checkpoint("last")["finetune"]["batches_done"] > 0
    train(compose(f"output_dir={tmp_path}/elsewhere", f"resume={tmp_path}/run", TRUSTED))
    assert_same_end(Run(tmp_path / "run", None), whole)


def broken_boxes(row: int, spoilt: list[int]) -> Any:
    """As `watched`: the boxes of one image are no numbers once in an epoch."""

    def spoil(trainer: Trainer, task: LightningModule, batch: dict[str, Any], _: int) -> None:
        for index, target in zip(batch["index"].tolist(), batch["label"], strict=True):
            if index == row:
                target["boxes"] = torch.tensor([[3.0, 3, float("nan"), 20]])
                target["labels"] = torch.zeros(1, dtype=torch.int64)
                spoilt.append(row)

    return watched(on_train_batch_start=spoil)


@pytest.mark.slow  # test_segmentation.py holds it of masks
def test_a_loss_that_is_not_finite_names_its_image(boxes: tuple[str, ...], tmp_path: Path) -> None:
    table = build_datamodule(typed(*boxes, "data.num_workers=0", "data.cache=none")).table
    row = int(table.splits["train"][0])
    path, spoilt = str(table.paths[row]), list[int]()
    with broken_boxes(row, spoilt) as watching, pytest.raises(RunStopped) as stop:
        run_train(tmp_path / "run", *boxes, *watching)
    assert str(stop.value).count(".png") == 1 and f"are not finite:\n  {path}" in str(stop.value), stop.value
    with broken_boxes(row, spoilt) as watching:
        run = run_train(tmp_path / "skip", *boxes, *watching, "on_nonfinite_loss=skip")
    assert run.log.count("Batch left out") == 2 == len(spoilt) - 1
    values = run.checkpoint("last")["state_dict"].values()
    assert all(value.isfinite().all() for value in values if value.is_floating_point())


def test_weights_without_end_have_no_metrics(boxes: tuple[str, ...], tmp_path: Path) -> None:
    """And not an AP of 0: such a network finds no boxes, as a bad one does."""
    run = run_train(
        tmp_path / "run", *boxes[:-1], "trainer.max_epochs=1", "optimizer.lr=1e30", "scheduler=constant",
        "trainer.gradient_clip_val=null", "on_nonfinite_loss=skip",
    )  # fmt: skip
    assert run.metrics["val/ap"] is None and run.metrics["test/ap"] is None and run.metrics["val/loss"] is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You requested to overfit")  # Lightning: it does not shuffle then
def test_two_batches_are_memorised(tmp_path: Path) -> None:
    """With nothing but debug=overfit, whose 30 epochs the tests' own settings would shorten."""
    run = run_train(tmp_path / "run", "task=detection", "debug=overfit", "trainer.max_epochs=30", "test=false")
    assert run.metrics["val/ap50"] > 0.9


@pytest.mark.slow
def test_finding_a_rate_leaves_nothing_behind(boxes: tuple[str, ...], tmp_path: Path) -> None:
    """A run at the rate that was found is the same, random numbers of the network's sampling included."""
    settings = (*boxes, "head=faster_rcnn", "augment=boxes_strong", "trainer.max_epochs=1")
    found = run_train(tmp_path / "found", *settings, "lr_find=true", "batch_size_find=true", "data.batch_size=2")
    rate = found.checkpoint()["finetune"]["rates"]["phase_1"]
    assert (found.directory / "report" / "lr_find_phase_1.csv").exists() and 1e-6 < rate < 10
    size = found.checkpoint()["finetune"]["config"]["data"]["batch_size"]
    typed = run_train(tmp_path / "typed", *settings, f"optimizer.lr={rate}", f"data.batch_size={size}")
    assert_same(found.checkpoint("last")["state_dict"], typed.checkpoint("last")["state_dict"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("ema_decay=0.9", "trainer.accumulate_grad_batches=3", "trainer.gradient_clip_val=0.1"),
        ("soup=2", "optimizer=sgd", "optimizer.lr=1e-3", "freeze=head_then_all", "freeze.phases.0.epochs=1"),
        ("head=faster_rcnn", "param_groups.layer_decay=0.7", "freeze.phases=[{train: 50%}]"),
        ("data.batch_size=1", "data.resize_mode=stretch", "scheduler=plateau"),
    ],
)
def test_the_best_checkpoint_is_what_was_measured(
    boxes: tuple[str, ...], tmp_path: Path, command, settings: tuple[str, ...]
) -> None:
    run = run_train(tmp_path / "run", *boxes, "trainer.max_epochs=3", "data.cache=images", *settings)
    answer = command("evaluate", f"ckpt={run.directory}", "split=val", f"output={tmp_path}/val.json")
    assert answer.status == 0, answer.err
    alone = json.loads((tmp_path / "val.json").read_text())
    for name in ("val/ap", "val/ap50", "val/ar", "val/loss"):
        assert run.metrics[name] == pytest.approx(alone[name], rel=1e-4), name
    losses = [float(row["train/loss"]) for row in run.csv("epochs.csv")]
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("head", ["fcos", "retinanet", "faster_rcnn"])
def test_bfloat16_trains(boxes: tuple[str, ...], tmp_path: Path, head: str) -> None:
    settings = (*boxes, f"head={head}", "trainer.max_epochs=1")
    wide = run_train(tmp_path / "wide", *settings)
    narrow = run_train(tmp_path / "narrow", *settings, "trainer.precision=bf16-mixed")
    assert narrow.metrics["last/val/loss"] == pytest.approx(wide.metrics["last/val/loss"], rel=0.05)
