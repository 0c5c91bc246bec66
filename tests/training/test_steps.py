"""What is counted and logged of the steps of a training."""

import csv
import statistics
from pathlib import Path

import pytest
import torch
from conftest import Run, run_train
from torchmetrics import MeanMetric

from src.training.loss_mean import LossMean
from src.training.resumable import seed_device

FEW = ("data.image_size_px=32", "data.batch_size=8", "augment=none", "test=false", "logger=csv")


def logged(run: Run, name: str) -> dict[int, float]:
    """By step."""
    with next(run.directory.rglob("metrics.csv")).open(newline="") as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row[name]}


def test_the_mean_of_losses() -> None:
    losses, images = torch.rand(5), [32, 32, 7, 1, 32]
    ours, theirs = LossMean(), MeanMetric()
    for loss, n in zip(losses, images, strict=True):
        ours.update(loss, n)
        theirs.update(loss, n)
    assert ours.compute() == theirs.compute() and ours.metric_state.keys() == theirs.metric_state.keys()
    half = LossMean()
    half.update(torch.tensor(600.0, dtype=torch.float16), 128)
    assert half.compute() == 600


def test_a_seeded_device_draws_as_torch_does() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    seed_device(torch.device("cpu"), 5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("every", "steps"), [(3, [2, 5, 8]), (0, [])])
def test_values_of_steps_are_logged_now_and_then(every: int, steps: list[int], colors: Path, tmp_path: Path) -> None:
    """42 images in batches of 8 are 5 steps an epoch, and one of 2 images."""
    settings = (f"data.root={colors}", "data=folder", "trainer.max_epochs=2", f"trainer.log_every_n_steps={every}")
    run = run_train(tmp_path / "run", *FEW, *settings)
    if steps:
        assert list(logged(run, "train/loss_step"))[:3] == steps == list(logged(run, "lr"))[:3]
    else:
        assert "train/loss_step" not in next(run.directory.rglob("metrics.csv")).read_text()
    assert len(run.csv("epochs.csv")) == 2


def test_an_epoch_that_ends_early_has_its_own_loss(colors: Path, tmp_path: Path) -> None:
    settings = (f"data.root={colors}", "data=folder", "+trainer.limit_train_batches=4", "+trainer.max_steps=6")
    run = run_train(tmp_path / "run", *FEW, *settings, "trainer.max_epochs=3", "trainer.log_every_n_steps=1")
    steps = list(logged(run, "train/loss_step").values())
    epochs = [float(row["train/loss"]) for row in run.csv("epochs.csv")]
    assert len(steps) == 6
    assert epochs == pytest.approx([statistics.mean(steps[:4]), statistics.mean(steps[4:])], rel=1e-4)
