"""Whole searches with the real command: trials that fail, an interruption, folds, several at a time."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import compose

from src.cli.own_experiment import with_own_experiments
from src.settings.project import PROJECT_ROOT

WEIGHTS = "src/assets/squeezenet1_1_imagenet.safetensors"
pytestmark = pytest.mark.slow
SMALL = (
    "-m", "sweep=search", "data=folder", "data.image_size_px=32", "data.batch_size=16", "trainer=cpu", "augment=none",
    "data.num_workers=0", "logger=none", "data.cache=none", "optimizer.lr=interval(1e-4,1e-2)",
)  # fmt: skip


def start(*arguments: str) -> "subprocess.Popen[str]":
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "src.train", *SMALL, *arguments], cwd=PROJECT_ROOT, env=environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # where the tests run in the background
    )  # fmt: skip


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def wait_for(folder: Path, pattern: str, process: "subprocess.Popen[str]") -> None:
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_search_with_failing_trials_is_interrupted_and_goes_on(colors: Path, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    typed = (
        f"data.root={colors}", f"backbone.weights=choice({WEIGHTS},nowhere.pth)", "trainer.max_epochs=4",
        "search.trials=4", "search.seed=1", "freeze=head_only", f"hydra.sweep.dir={folder}",
    )  # fmt: skip
    process = start(*typed)
    wait_for(folder, "*/epochs.csv", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 130, err
    assert "will go on where it was." in err and "Traceback" not in err and f"hydra.sweep.dir={folder}" in err
    (interrupted,) = [
        file.parent for file in folder.glob("*/epochs.csv") if not (file.parent / "metrics.json").exists()
    ]
    assert (interrupted / "checkpoints" / "last.ckpt").exists()

    process = start(*typed)
    out, err = process.communicate(timeout=1800)
    assert process.returncode == 0, err
    number = interrupted.name.split("_")[0]
    assert f"trial {number} was interrupted, and goes on." in out
    assert "Resuming" in (interrupted / "train.log").read_text()
    jobs = {row["job"].split("_")[0]: row for row in rows(folder / "sweep.csv")}
    assert sorted(jobs) == ["0", "1", "2", "3"]
    failed = {key: row for key, row in jobs.items() if row["backbone.weights"] == "nowhere.pth"}
    assert failed and len(failed) < 4
    assert all(row["status"] == "failed" and "nowhere.pth" in row["error"] for row in failed.values())
    assert all(f"trial {key}  " in out and f"Job {row['job']} failed" in out for key, row in failed.items())
    assert all(row["status"] in ("done", "pruned") for key, row in jobs.items() if key not in failed)

    done = [row for row in jobs.values() if row["status"] == "done"]
    best = max(done, key=lambda row: float(row["val/acc"]))
    assert "test/acc" not in best, "trials must not look at test"
    measured = json.loads((folder / "best_on_test" / "trial.json").read_text())
    assert str(measured["trial"]) == best["job"].split("_")[0] and 0 <= measured["metrics"]["test/acc"] <= 1
    page = (folder / "search.html").read_text()
    assert "is the best of 4 trials" in page and "it flatters" in page and "nowhere.pth" in page
    assert f"python -m src.train experiment={folder}/best.yaml" in out

    trained = yaml.safe_load((folder / best["job"] / "config.yaml").read_text())
    again = compose(*with_own_experiments([f"experiment={folder}/best.yaml"]), "output_dir=x")
    assert again.optimizer.lr == trained["optimizer"]["lr"] == float(best["optimizer.lr"])
    assert again.backbone.weights == WEIGHTS and again.trainer.max_epochs == 4 and again.test


def test_a_trial_is_a_mean_over_folds_and_two_run_at_a_time(colors: Path, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    process = start(
        f"data.root={colors}", "data.folds=2", "trainer.max_epochs=1", "search.trials=2", "search.jobs=2",
        "search.pruner=none", "freeze=head_only", f"hydra.sweep.dir={folder}", "test=false",
    )  # fmt: skip
    out, err = process.communicate(timeout=1800)
    assert process.returncode == 0, err
    for row in rows(folder / "sweep.csv"):
        folds = [json.loads((folder / row["job"] / f"fold_{n}" / "metrics.json").read_text()) for n in range(2)]
        assert float(row["val/acc"]) == pytest.approx(sum(fold["val/acc"] for fold in folds) / 2)
        assert row["status"] == "done" and row["epochs"] == "2"
    assert "test was not measured (test=false)" in out and not (folder / "best_on_test").exists()


def test_a_search_whose_first_trials_fail_alike_ends(colors: Path, tmp_path: Path) -> None:
    process = start(
        f"data.root={colors}", "backbone.weights=nowhere.pth", "trainer.max_epochs=1", "search.trials=9",
        f"hydra.sweep.dir={tmp_path}",
    )  # fmt: skip
    _, err = process.communicate(timeout=1800)
    assert process.returncode == 1 and "The first 3 trials failed, all for the same reason" in err
    assert "backbone.weights='nowhere.pth' does not exist" in err and "Traceback" not in err
    assert len(list(tmp_path.glob("*/error.txt"))) == 3
