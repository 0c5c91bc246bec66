"""Going on under other settings: the schedule keeps its place in epochs, and whoever changes nothing is told so."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SMALL, Answer, Run, compose, run_train
from support.slow import one_in, slow

from src.runs.progress import shares
from src.settings.errors import ConfigError, RunStopped
from src.train import train


@pytest.fixture(scope="module")
def plain(colors: Path) -> tuple[str, ...]:
    """43 images in train."""
    return ("data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=8", "test=false")


@pytest.fixture(scope="module")
def two_epochs(plain: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of a plan of two phases that share four epochs, in the second of which it was interrupted."""
    directory = tmp_path_factory.mktemp("two") / "run"
    phases = "freeze.phases=[{train: head}, {train: all}]"
    return run_train(directory, *plain, phases, "trainer.max_epochs=2", "scheduler.warmup_epochs=0.0")


def resume(run: Path, *changes: str) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["src.train", f"resume={run}", *changes])
        train(compose(f"output_dir={run.parent}/unused", f"resume={run}"))
    return Run(run, None)


def copy_of(run: Run, tmp_path: Path) -> Path:
    shutil.copytree(run.directory, tmp_path / "run")
    return tmp_path / "run"


def rates(run: Run) -> list[float]:
    return [float(row["lr"]) for row in run.csv("epochs.csv")]


@pytest.mark.parametrize("changes", [["data.batch_size=16"], slow(["trainer.accumulate_grad_batches=3"])])
def test_longer_steps_do_not_move_the_schedule(two_epochs: Run, tmp_path: Path, changes: list[str]) -> None:
    """Epoch 4 of 5 begins where three quarters of the phase's cosine are over, however long a step is."""
    same = resume(copy_of(two_epochs, tmp_path / "same"), "trainer.max_epochs=5")
    other = resume(copy_of(two_epochs, tmp_path / "other"), "trainer.max_epochs=5", *changes)
    assert len(rates(same)) == len(rates(other)) == 5
    for one, another in zip(rates(same)[2:4], rates(other)[2:4], strict=True):
        assert 0.4 < another / one < 2.5


@pytest.mark.slow
def test_raised_epochs_are_trained_by_the_phases_that_are_left(two_epochs: Run, tmp_path: Path) -> None:
    run = resume(copy_of(two_epochs, tmp_path), "trainer.max_epochs=6")
    assert [row["phase"] for row in run.csv("epochs.csv")] == ["1", "2", "2", "2", "2", "2"]
    again = resume(run.directory, "trainer.max_epochs=7")
    assert len(again.csv("epochs.csv")) == 7


def test_a_run_that_had_ended_says_so(two_epochs: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = resume(copy_of(two_epochs, tmp_path))
    assert len(run.csv("epochs.csv")) == 2
    assert (
        "The run had ended with epoch 2, and nothing is left to train: trainer.max_epochs=<more>"
        in capsys.readouterr().err
    )


def test_fewer_epochs_than_were_trained_are_refused(colors_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs=3 is less than the 4 epochs"):
        resume(copy_of(colors_run, tmp_path), "trainer.max_epochs=3")


@pytest.mark.slow
def test_one_cycle_becomes_longer(plain: tuple[str, ...], tmp_path: Path) -> None:
    run_train(tmp_path / "run", *plain, "scheduler=onecycle", "trainer.max_epochs=1")
    assert len(rates(resume(tmp_path / "run", "trainer.max_epochs=3", "data.batch_size=16"))) == 3


def test_schedules_that_only_know_the_next_step_are_refused(plain: tuple[str, ...], tmp_path: Path) -> None:
    cfg = compose(f"output_dir={tmp_path}/run", *plain, *SMALL, "trainer.max_epochs=1")
    target = "torch.optim.lr_scheduler.ExponentialLR"
    cfg.scheduler = {"_target_": target, "_partial_": True, "gamma": 0.9, "interval": "step"}
    train(cfg)
    with pytest.raises(RunStopped, match="ExponentialLR counts optimizer steps"):
        resume(tmp_path / "run", "trainer.max_epochs=2", "data.batch_size=16")


@pytest.mark.slow
def test_early_stopping_and_more_patience(
    plain: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=1e-12")
    run = run_train(tmp_path / "run", *plain, *settings, "trainer.max_epochs=4")
    stopped = len(rates(run))
    assert stopped < 4
    resume(run.directory)
    assert f"Early stopping had ended phase 1 with epoch {stopped}" in capsys.readouterr().err
    assert len(rates(run)) == stopped
    resume(run.directory, "callbacks.early_stopping.patience=9")
    assert len(rates(run)) == 4


def test_the_checkpoint_of_another_run_is_refused(two_epochs: Run, colors_run: Run, tmp_path: Path) -> None:
    other = copy_of(colors_run, tmp_path)
    shutil.copy(two_epochs.directory / "checkpoints" / "last.ckpt", other / "checkpoints" / "last.ckpt")
    with pytest.raises(ConfigError, match="is the checkpoint of another run than the one in"):
        resume(other, "trainer.max_epochs=5")


@pytest.mark.parametrize(
    ("change", "message"),
    one_in(
        3,
        [
            ("trainer.max_epochs=abc", "trainer.max_epochs='abc' is not a number."),
            ("trainer.max_epochs=2.5", "trainer.max_epochs=2.5 is not a whole number."),
            ("test=maybe", "test='maybe' is not true or false."),
            ("data.batch_size=true", "data.batch_size=True is not a number."),
            ("data.nosuch=1", "data.nosuch is no setting of the resumed run"),
            ("optimizer.lr=1", "optimizer.lr=1 cannot be combined with resume"),
            ("optimizer=sgd", "optimizer=sgd cannot be combined with resume"),
            ("~trainer", "~trainer cannot be combined with resume"),
            ("data.batch_size=4,8", "several values make a sweep"),
        ],
    ),
)
def test_wrong_changes_are_told(
    two_epochs: Run, tmp_path: Path, command: Callable[..., Answer], change: str, message: str
) -> None:
    answer = command("train", f"resume={copy_of(two_epochs, tmp_path)}", change)
    assert answer.status == 1 and message in answer.err and "Traceback" not in answer.err


def test_shares() -> None:
    assert shares([None, 2, None], 9) == [3, 2, 4]
    assert shares([1, 2], 3) == [1, 2] and shares([None], 5) == [5]
