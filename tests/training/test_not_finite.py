"""Networks whose outputs are not finite: no metric of them, in no task, and no comparison."""

import csv
import math
from pathlib import Path

import pytest
import torch
from conftest import Run, run_train
from lightning import Trainer
from torch.utils.data import DataLoader

from src.build.trained_model import TrainedModel
from src.sweeps.results import SweepResults


def diverged(folder: Path, *overrides: str) -> Run:
    """One step with a rate that makes all weights overflow."""
    return run_train(
        folder, "data.image_size_px=32", "data.batch_size=64", "trainer.max_epochs=1", "optimizer.lr=1e30",
        "scheduler=constant", *overrides,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return diverged(tmp_path_factory.mktemp("diverged") / "run", "data=folder", f"data.root={colors}")


def test_no_metric_of_outputs_that_are_not_finite(run: Run, colors_run: Run) -> None:
    assert math.isnan(run.monitored or 0)
    for name in ("acc", "balanced_acc", "f1", "loss"):
        for key in (f"val/{name}", f"test/{name}", f"last/val/{name}"):
            assert run.metrics[key] is None, key
    assert " *" not in next(line for line in run.log.splitlines() if "epoch 1/1" in line)
    assert "report/index.html" not in run.log and "there are no metrics of test" in run.log
    rows = [{"job": "0", **run.metrics}, {"job": "1", **colors_run.metrics}]
    assert [row["job"] for row in SweepResults(Path(), rows, "val/acc").ranked()] == ["1", "0"]


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_nor_in_other_tasks(colors: Path, tmp_path: Path, task: str) -> None:
    with (tmp_path / "table.csv").open("w", newline="") as file:
        paths = sorted(colors.rglob("*.[pj]*g"))
        rows = [[path, path.parent.name if task == "multilabel" else i] for i, path in enumerate(paths)]
        csv.writer(file).writerows([["path", "label"], *rows])
    metrics = diverged(tmp_path / "run", f"task={task}", f"data.file={tmp_path}/table.csv").metrics
    names = ["map", "f1_macro", "f1_micro"] if task == "multilabel" else ["mae", "rmse", "r2"]
    assert [metrics[f"val/{name}"] for name in (*names, "loss")] == [None] * 4


def test_comparing_says_what_is_wrong_with_the_run(run: Run, colors_run: Run, command) -> None:
    for runs in ([run, colors_run], [colors_run, run]):
        answer = command("compare", f"runs={runs[0].directory}", str(runs[1].directory))
        assert answer.status == 1 and "are not finite" in answer.err and str(run.directory) in answer.err


def test_a_few_are_left_out(colors_run: Run) -> None:
    """Less than 2 % of the images: the metrics are those of the others."""
    task = TrainedModel.open(str(colors_run.directory)).task.eval()
    task.loss = torch.nn.CrossEntropyLoss()
    with torch.no_grad():
        features = task.model.forward_features(torch.randint(0, 256, (100, 3, 32, 32), dtype=torch.uint8))
        batch = {"features": features, "index": torch.arange(100)}
        batch["label"] = task.outputs(batch).argmax(dim=1)  # all are right
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", **quiet)
    features[5] = float("inf")
    trainer.validate(task, DataLoader([batch], batch_size=None), verbose=False)
    metrics = trainer.callback_metrics
    assert metrics["val/acc"] == 1 and math.isfinite(metrics["val/loss"])
    features[7:9] = float("nan")
    trainer.validate(task, DataLoader([batch], batch_size=None), verbose=False)
    assert all(math.isnan(value) for value in trainer.callback_metrics.values())
