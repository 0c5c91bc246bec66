"""src.compare: known statistics, made-up run folders, and two small sweeps for real."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer, Compare
from support.compared_runs import make_run, make_sweep, write_table

# ------------------------------------------------------------------------------------------------------ what is printed


def test_a_difference_with_interval_and_both_p(tmp_path: Path, run_compare: Compare) -> None:
    """Differences 1 to 5 points: mean 3, interval 3 +- 1.9632, t = 3 / 0.7071 = 4.24."""
    a = make_sweep(tmp_path / "a", [0.90, 0.91, 0.90, 0.92, 0.90])
    b = make_sweep(tmp_path / "b", [0.91, 0.93, 0.93, 0.96, 0.95], optimizer__lr=0.01, optimizer__betas=[0.9, 0.99])
    answer = run_compare(a, b)
    assert answer.status == 0, answer.err
    assert f"A: {a} (5 runs)" in answer.out and "optimizer.lr     0.001 -> 0.01" in answer.out
    assert "optimizer.betas  - -> [0.9, 0.99]" in answer.out
    assert "dirpath" not in answer.out and "output_dir" not in answer.out  # each run's own folder is no difference
    assert "│ seed 3 │ 0.9200 │ 0.9600 │         +4.00 │" in answer.out
    mean = "Mean of B - A: +3.00 points, 95 % CI +1.04..+4.96 (paired t = 4.24, df = 4, p = 0.0132)."
    assert mean in answer.out
    assert "Permutation of signs: p = 0.0625; 5 pairs reach 0.0625 at best." in answer.out
    assert answer.out.splitlines()[-1] == "B is better by 3.00 points, 95 % CI 1.04..4.96."
    assert "optimistic" not in answer.out and "McNemar" not in answer.out


def test_no_difference_beyond_the_noise(tmp_path: Path, run_compare: Compare) -> None:
    a, b = make_sweep(tmp_path / "a", [0.90, 0.92, 0.91]), make_sweep(tmp_path / "b", [0.92, 0.91, 0.91])
    answer = run_compare(a, b)
    last = answer.out.splitlines()[-1]
    assert last == "No difference beyond the noise of 3 seeds: B - A is somewhere between -3.46 and +4.13 points."
    assert "nothing but seed and fold" in answer.out


@pytest.mark.parametrize(
    "metric, settings, verdict",
    [
        ("test/loss", {}, "A is better by 0.0200 (lower is better), 95 % CI 0.0076..0.0324."),
        ("val/mae/age", {}, "A is better by 0.0200 (lower is better), 95 % CI 0.0076..0.0324."),
        ("val/r2", {}, "B is better by 0.0200, 95 % CI 0.0076..0.0324."),
        ("val/balanced_acc", {}, "B is better by 2.00 points, 95 % CI 0.76..3.24."),
        ("epochs", {}, "B is higher by 0.0200, 95 % CI 0.0076..0.0324."),
        ("last/val/x", {"task__monitor": "val/x"}, "B is better by 0.0200, 95 % CI 0.0076..0.0324."),
        (
            "last/val/x",
            {"task__monitor": "val/x", "task__mode": "min"},
            "A is better by 0.0200 (lower is better), 95 % CI 0.0076..0.0324.",
        ),
    ],
)
def test_which_direction_is_better(
    tmp_path: Path, run_compare: Compare, metric: str, settings: dict[str, Any], verdict: str
) -> None:
    """Differences 0.015, 0.02, 0.025: std 0.005, 4.3027 * 0.005 / sqrt(3) = 0.0124."""
    a = make_sweep(tmp_path / "a", [0.5, 0.5, 0.5], metric, **settings)
    b = make_sweep(tmp_path / "b", [0.515, 0.52, 0.525], metric, **settings)
    assert run_compare(a, b, metric=metric).out.splitlines()[-1] == verdict


def test_the_same_difference_everywhere_has_no_interval(tmp_path: Path, run_compare: Compare) -> None:
    float32 = [float(np.float32(score)) for score in (0.9, 0.2, 0.91, 0.21)]
    a, b = make_sweep(tmp_path / "a", float32[:2]), make_sweep(tmp_path / "b", float32[2:])
    out = run_compare(a, b).out
    assert "no spread, hence no interval" in out and "CI" not in out
    assert out.splitlines()[-1] == "B is better by 1.00 points, in each of 2 pairs."
    same = make_sweep(tmp_path / "same", float32[:2])
    assert run_compare(a, same).out.splitlines()[-1] == "No difference: last/val/acc is the same on both sides."


def test_folds_claim_nothing(tmp_path: Path, run_compare: Compare) -> None:
    runs: dict[str, list[Path]] = {"a": [], "b": []}
    for fold, (a, b) in enumerate([(0.90, 0.93), (0.91, 0.93), (0.92, 0.91)]):
        for side, acc in (("a", a), ("b", b)):
            settings = {"data.folds": 3, "data.fold": fold}
            run = make_run(tmp_path / f"{side}{fold}", 0, {"val/acc": acc}, settings, "1" * (10 + fold), f"f{fold}")
            runs[side].append(run)
    sides = [",".join(map(str, runs["a"])), ",".join(map(str, reversed(runs["b"])))]
    out = run_compare(f"[[{sides[0]}],[{sides[1]}]]").out
    assert "│ seed 0 fold 2 │ 0.9200 │ 0.9100 │         -1.00 │" in out
    assert "Mean of B - A: +1.33 points, std 2.08 over 3 pairs. No interval and no p-value" in out
    assert "10 to 12 images: one image is about 9.09 points." in out
    assert out.splitlines()[-1] == "B is better by 1.33 points, less than one image on average, in 2 of 3 pairs."
    assert "CI" not in out and "paired t" not in out


def test_images_that_change(tmp_path: Path, run_compare: Compare) -> None:
    """Eight images; two gained, one lost, the lines of B's file in another order."""
    a = make_run(tmp_path / "a", 0, {"val/acc": 4 / 8}, right="11110000")
    b = make_run(tmp_path / "b", 0, {"val/acc": 5 / 8}, right="01111100")
    file = b / "report" / "val_predictions.csv"
    header, *lines = file.read_text().splitlines()
    file.write_text("\n".join([header, *reversed(lines)]))
    out = run_compare(a, b).out
    assert "(val/acc is of the epoch that was best on val, so optimistic; last/val/acc is of the last.)" in out
    assert "8 images: one image is 12.50 points." in out and "less than one image" not in out
    assert "of 8 answers, 2 wrong with A are right with B, and 1 right with A are wrong with B." in out
    assert "McNemar's exact test between these two models, on these images: p = 1" in out
    assert "B is better by 12.50 points, in one pair: whether another seed agrees is not known." in out
    twice = [make_run(tmp_path / f"{side}1", 1, {"val/acc": 0.5}, right="11110000") for side in "ab"]
    out = run_compare(f"[[{a},{twice[0]}],[{b},{twice[1]}]]").out
    assert "of 16 answers, 2 wrong with A are right with B, and 1 right" in out and "McNemar" not in out
    assert run_compare(a, b, metric="val/acc").out.count("one image is") == 1


def test_several_classes_per_image_are_not_counted(tmp_path: Path, run_compare: Compare) -> None:
    settings = {"task.name": "multilabel", "task.targets": "tags", "task.monitor": "val/map"}
    a = make_run(tmp_path / "a", 0, {"val/map": 0.5}, settings, "1100")
    b = make_run(tmp_path / "b", 0, {"val/map": 0.6}, settings, "1110")
    out = run_compare(a, b).out
    assert "b errs on 4 val images by 0.5 on average" in out and "answers" not in out and "+10.00 points" in out


def test_one_sweep_can_hold_both_sides(tmp_path: Path, run_compare: Compare) -> None:
    """By a value, in whatever spelling, and by a group's choice, which only sweep.csv knows."""
    rows = []
    for i, (seed, lr, freeze) in enumerate(
        [(0, 0.001, "none"), (1, 0.001, "none"), (0, 0.01, "head"), (1, 0.01, "head")]
    ):
        make_run(tmp_path / f"{i}_x", seed, {"val/acc": 0.9 + lr + seed / 1e3}, {"optimizer.lr": lr})
        rows.append({"job": f"{i}_x", "status": "done", "seed": seed, "optimizer.lr": lr, "freeze": freeze})
    rows.append({"job": "4_x", "status": "failed", "seed": 2, "optimizer.lr": 0.01, "freeze": "head"})
    write_table(tmp_path, rows)
    for a, b in (("optimizer.lr=1e-3", "optimizer.lr=.01"), ("freeze=none", "freeze=head,optimizer.lr=1e-2")):
        answer = run_compare(f"{tmp_path}:{a}", f"{tmp_path}:{b}")
        assert answer.status == 0, answer.err
        assert "B is better by 0.90 points, in each of 2 pairs." in answer.out
        assert "optimizer.lr  0.001 -> 0.01" in answer.out
    other = make_run(tmp_path / "other", 0, {"val/acc": 0.9})
    for text, message in (
        ("", f"'{tmp_path}' has several runs of seed 0: "),
        ("", "(optimizer.lr: 0.001, 0.01)"),
        ("", "SWEEP:optimizer.lr=1e-3"),
        (":optimizer.lr=5", f"No run in '{tmp_path}' has optimizer.lr=5. There are: 0.001, 0.01."),
        (":optimizer.lrr=5", "Did you mean 'optimizer.lr'?"),
    ):
        answer = run_compare(f"{tmp_path}{text}", other)
        assert answer.status == 1 and message in answer.err and answer.err.count("\n") == 1 and answer.out == ""


def test_runs_without_a_partner_are_named(tmp_path: Path, run_compare: Compare) -> None:
    a, b = make_sweep(tmp_path / "a", [0.9, 0.8, 0.7]), make_sweep(tmp_path / "b", [0.91, 0.82])
    answer = run_compare(a, b)
    assert f"Left out, without a partner of the same seed and fold: {a}/2_x\n" in answer.out
    assert "2 pairs reach" in answer.out


def test_losses_of_different_kinds_are_warned_about(tmp_path: Path, run_compare: Compare) -> None:
    a = make_sweep(tmp_path / "a", [0.9, 0.8], "val/loss", loss__label_smoothing=0.0)
    b = make_sweep(tmp_path / "b", [0.7, 0.7], "val/loss", loss__label_smoothing=0.1)
    assert "Beware: each side measures val/loss by its own loss" in run_compare(a, b, metric="val/loss").out
    assert "Beware" not in run_compare(a, b).out


# ------------------------------------------------------------------------------------------------------------ refusals


def test_refusals_are_one_line(tmp_path: Path, run_compare: Compare) -> None:
    a = make_run(tmp_path / "a", 0, {"val/acc": 0.9, "val/f1": 0.8, "val/loss": None})
    b = make_run(tmp_path / "b", 0, {"val/acc": 0.9, "val/f1": 0.8, "val/loss": 0.1})
    seed_1 = make_run(tmp_path / "seed1", 1, {"val/acc": 0.9})
    other_data = make_run(tmp_path / "data", 0, {"val/acc": 0.9}, fingerprint="f2")
    other_monitor = make_run(tmp_path / "loss", 0, {"val/acc": 0.9}, {"task.monitor": "val/loss"})
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / "sweep.csv").write_text("job,status\n0_x,failed\n")
    nested = f"[[{a},{seed_1}],[]]"
    for sides, metric, message in (
        ((a,), None, f"runs='{a}' is a single run, whose own page is {a}/report/index.html"),
        ((nested,), None, "runs= names no run"),
        ((a, tmp_path / "nowhere"), None, f"There is no folder '{tmp_path}/nowhere'."),
        ((tmp_path, b), None, f"'{tmp_path}' has no metrics.json: expected the folder of a finished run, or of a"),
        ((failed, b), None, "has no finished job"),
        ((a, seed_1), None, f"of '{seed_1}': seed 0; seed 1. Repeat both with the same seeds: sweep=seeds."),
        ((a, a), None, f"'{a}' is on both sides"),
        ((a, other_data), None, f"data_fingerprint in environment.json is f1 in '{a}' and f2 in '{other_data}'"),
        ((a, other_monitor), None, "val/acc and val/loss: choose with metric="),
        ((a, b), "val/ac", "There is no metric 'val/ac'. Did you mean 'val/acc'? There are: val/acc, val/f1."),
        ((a, b), "val/loss", f"val/loss is missing or not a number in '{a}/metrics.json'."),
    ):
        answer = run_compare(*sides, **({"metric": metric} if metric else {}))
        assert answer.status == 1 and answer.out == "", sides
        assert message in answer.err and answer.err.count("\n") == 1, answer.err
        assert not (tmp_path / "c.html").exists()


def test_what_cannot_be_paired_is_compared_all_the_same(tmp_path: Path, run_compare: Compare) -> None:
    """Runs of different seeds: images, but no pairs. With metric= that is an error."""
    a = make_run(tmp_path / "a", 0, {"val/acc": 0.5}, right="1100")
    b = make_run(tmp_path / "b", 1, {"val/acc": 0.75}, right="1110")
    answer = run_compare(a, b)
    assert answer.status == 0 and "Not paired: No run of" in answer.err, answer.err
    assert answer.out == (
        "b is right on 4 val images 0.7500 of the time, a 0.5000: 1 turned right, 0 wrong "
        "(p = 1, which may be chance).\n"
    )
    assert "Not paired" in (tmp_path / "c.html").read_text()
    assert run_compare(a, b, metric="val/acc").status == 1


def test_three_sides(tmp_path: Path, run_compare: Compare) -> None:
    """Each is compared with the first, and every image with the partner's of the same seed."""
    sweeps = []
    for name, right in (("a", "1100"), ("b", "1110"), ("c", "0000")):
        runs = [make_run(tmp_path / name / f"{n}_x", n, {"val/acc": 0.5 + n / 10}, right=right[n:]) for n in (0, 1)]
        write_table(tmp_path / name, [{"job": run.name, "status": "done"} for run in runs])
        sweeps.append(tmp_path / name)
    answer = run_compare(*sweeps)
    assert answer.status == 0 and answer.out.count("What differs, A -> B:") == 2, answer.err
    for name, other in (("b/1_x", "a/1_x"), ("c/0_x", "a/0_x")):
        assert re.search(rf"^{name} is right on \d val images [\d.]+ of the time, {other} ", answer.out, re.MULTILINE)


def test_it_starts_without_torch() -> None:
    code = "import sys, src.comparing.page, src.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ---------------------------------------------------------------------------------------------------------- for real


@pytest.mark.slow
def test_a_real_sweep_over_a_range_of_seeds(
    tmp_path: Path, command: Callable[..., Answer], run_compare: Compare, colors: Path
) -> None:
    """Four runs of an epoch; what is printed is in their metrics.json and val_predictions.csv."""
    answer = command(
        "train", "-m", "seed=range(2)", "optimizer.lr=1e-4,1e-2", "data=folder", f"data.root={colors}", "trainer=cpu",
        "trainer.max_epochs=1", "data.image_size_px=32", "freeze=head_only", "augment=none", "data.num_workers=0",
        "logger=none", f"data.cache_dir={tmp_path}/cache", f"hydra.sweep.dir={tmp_path}/sweep",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    assert answer.out.count("% CI") == 4 and answer.out.count("over 2 jobs") == 4
    jobs = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [job.name for job in jobs] == [
        "0_optimizer.lr=0.0001,seed=0", "1_optimizer.lr=0.01,seed=0",
        "2_optimizer.lr=0.0001,seed=1", "3_optimizer.lr=0.01,seed=1",
    ]  # fmt: skip
    compared = run_compare(f"{tmp_path}/sweep:optimizer.lr=1e-4", f"{tmp_path}/sweep:optimizer.lr=1e-2")
    assert compared.status == 0, compared.err
    assert "What differs, A -> B:\n  optimizer.lr  0.0001 -> 0.01\nlast/val/acc" in compared.out
    a0, b0, a1, b1 = (json.loads((job / "metrics.json").read_text())["last/val/acc"] for job in jobs)
    assert f"Mean of B - A: {50 * (b0 - a0 + b1 - a1):+.2f} points" in compared.out
    predictions = [list(csv.DictReader((job / "report" / "val_predictions.csv").open(newline=""))) for job in jobs]
    n = len(predictions[0])
    assert f"{n} images: one image is {100 / n:.2f} points." in compared.out
    right = [[row["label"] == row["prediction"] for row in rows] for rows in predictions]
    gained = sum(y and not x for i in (0, 2) for x, y in zip(right[i], right[i + 1], strict=True))
    assert gained and f"of {2 * n} answers, {gained} wrong with A are right with B" in compared.out


def test_images_that_lie_in_other_folders(tmp_path: Path, run_compare: Compare) -> None:
    one = make_run(tmp_path / "one", 0, {"last/val/acc": 0.9, "val/acc": 0.9}, right="101")
    other = make_run(tmp_path / "other", 0, {"last/val/acc": 0.9, "val/acc": 0.9}, right="111")
    file = other / "report" / "val_predictions.csv"
    file.write_text(file.read_text().replace("\n0", "\nimages/0").replace("\n1.", "\nimages/1."))
    assert run_compare(one, other).status == 0  # image 2 is in both
    file.write_text(file.read_text().replace("\n2.", "\nimages/2."))
    answer = run_compare(one, other)
    assert answer.status == 1 and "File names agree, but not their folders, e.g. '0.png' and" in answer.err, answer


@pytest.mark.parametrize("runs", ["[3,null]", "[[3],x]", "3"])
def test_a_number_is_the_name_of_a_folder(command: Callable[..., Answer], tmp_path: Path, runs: str) -> None:
    answer = command("compare", f"runs={runs}", f"output={tmp_path}/page.html")
    assert answer.status == 1 and "There is no folder '3'" in answer.err and answer.err.count("\n") == 1
