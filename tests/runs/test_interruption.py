"""Runs that end before their time: killed, told to end, out of disk, out of numbers. And how they go on."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import OBJECTS, SMALL, Run, compose, run_train
from lightning import Trainer
from support.killed import kill_and_resume, start
from support.resumed import assert_same_end
from support.slow import slow
from support.watching import TRUSTED, Stop, spoilt, stopped, watched

from src.cli import command as cli
from src.settings.errors import RunStopped
from src.train import train


@pytest.fixture(scope="module")
def plain(colors: Path) -> tuple[str, ...]:
    """Eleven batches an epoch."""
    return ("data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=4", "test=false")


# ------------------------------------------------------------------------------------------------- within epochs


EVERYTHING = (
    *("freeze=head_then_all", "freeze.phases.0.epochs=1", "augment=strong", "augment.mixup=0.4", "augment.cutmix=1.0"),
    *("head.dropout=0.3", "data.balanced_sampling=true", "ema_decay=0.9", "scheduler=onecycle", "soup=2"),
    *("param_groups.layer_decay=0.8", "callbacks=early_stopping", "trainer.deterministic=true"),
)


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        slow(EVERYTHING, 9),  # in the first phase
        slow(EVERYTHING, 19),
        slow(("trainer.accumulate_grad_batches=2", "data.num_workers=2", "optimizer=sgd", "scheduler=step"), 9),
        slow(("data.cache=auto", "freeze=head_only", "augment=none", "optimizer=sgd"), 14),
        slow(("scheduler=plateau", "scheduler.patience=0"), 14),
    ],
)
def test_a_run_resumed_within_an_epoch_ends_as_the_uninterrupted_one(
    tmp_path: Path, plain: tuple[str, ...], settings: tuple[str, ...], step: int
) -> None:
    common = [*plain, "trainer.max_epochs=2", "checkpoint_every_n_steps=2", f"data.cache_dir={tmp_path}/cache"]
    whole = run_train(tmp_path / "whole", *common, *settings)
    with stopped(step=step) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "run", *common, *settings, *stopping)
    cut = Run(tmp_path / "run", None).checkpoint("last")
    assert cut["finetune"]["batches_done"] > 0 and step - 2 <= cut["global_step"] <= step
    train(compose(f"output_dir={tmp_path}/elsewhere", f"resume={tmp_path}/run", TRUSTED))
    assert_same_end(Run(tmp_path / "run", None), whole)


def test_within_an_epoch_the_batches_have_to_stay(tmp_path: Path, plain: tuple[str, ...], command) -> None:
    run_train(tmp_path / "run", *plain, "checkpoint_every_n_steps=3", "trainer.max_epochs=1")
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    saved["finetune"]["batches_done"] = 6
    torch.save(saved, tmp_path / "run" / "checkpoints" / "last.ckpt")
    answer = command("train", f"resume={tmp_path}/run", "data.batch_size=8")
    assert answer.status == 1 and "interrupted within an epoch, 6 batches into it" in answer.err


def test_a_directory_with_a_run_in_it_is_not_written_over(colors_run: Run, plain: tuple[str, ...], command) -> None:
    kept = [file for file in colors_run.directory.rglob("*.*") if file.name not in ("train.log", ".lock")]
    before = {file: file.stat().st_mtime_ns for file in kept}
    answer = command("train", *plain, f"output_dir={colors_run.directory}")
    assert answer.status == 1 and f"output_dir='{colors_run.directory}' holds a run already" in answer.err
    assert {file: file.stat().st_mtime_ns for file in kept} == before


def test_resume_auto_starts_or_goes_on(tmp_path: Path, plain: tuple[str, ...], command) -> None:
    """The same command line, as a cluster repeats it."""
    typed = [*plain, *SMALL, "data.batch_size=16", f"output_dir={tmp_path}/run", "resume=auto", "trainer.max_epochs=1"]
    answer = command("train", *typed, "freeze.batch_norm=false")  # as by default when older runs began
    assert answer.status == 0 and "There is no checkpoint in" in answer.err, answer.err
    typed[-1] = "trainer.max_epochs=2"
    answer = command("train", *typed)
    assert answer.status == 0 and "Changed on resuming: trainer.max_epochs=2" in answer.err, answer.err
    assert answer.err.count("Changed on resuming") == 1 and Run(tmp_path / "run", None).metrics["epochs"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    for change in ("optimizer.lr=1e-05", "freeze.batch_norm=true"):
        answer = command("train", *typed, change)
        assert answer.status == 1 and f"{change.replace('true', 'True')} cannot be combined with resume" in answer.err
    answer = command("train", *plain, "resume=auto")
    assert answer.status == 1 and "give output_dir=<dir>" in answer.err and "Traceback" not in answer.err


# ------------------------------------------------------------------------------------------- killed, told to end


@pytest.mark.slow
def test_killed_at_ten_random_moments_the_run_ends_as_the_one_that_was_never_stopped(
    tmp_path: Path, plain: tuple[str, ...]
) -> None:
    kill_and_resume(tmp_path, [*plain, *EVERYTHING, "trainer.max_epochs=4", "checkpoint_every_n_steps=3"], 10)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["pixels", "objects"])
def test_a_training_with_masks_survives_being_killed(tmp_path: Path, task: str) -> None:
    common = ["trainer.max_epochs=3", "checkpoint_every_n_steps=2", "test=false", f"data.cache_dir={tmp_path}/cache"]
    of_task = list(OBJECTS) if task == "objects" else ["task=segmentation", "data.scenes=40", "data.scene_px=48"]
    kill_and_resume(tmp_path, [*of_task, *common], 3)


@pytest.mark.slow
def test_sigterm_saves_within_the_epoch_and_says_so_by_the_exit_status(tmp_path: Path, plain: tuple[str, ...]) -> None:
    settings = [*plain, "trainer.max_epochs=6"]
    whole = start(tmp_path / "whole", settings)
    whole.join()
    process = start(tmp_path / "run", settings)
    while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 143
    saved = Run(tmp_path / "run", None).checkpoint("last")
    assert saved["global_step"] < 66 and saved["finetune"]["batches_done"] == saved["global_step"] % 11
    process = start(tmp_path / "run", settings)
    process.join()
    assert process.exitcode == 0
    assert_same_end(Run(tmp_path / "run", None), Run(tmp_path / "whole", None))


# ------------------------------------------------------------------------------------------------------ bad numbers


def test_a_loss_that_is_not_finite_ends_the_run_at_that_step_and_names_the_image(
    tmp_path: Path, plain: tuple[str, ...]
) -> None:
    whole = run_train(tmp_path / "whole", *plain)
    path = next(row["path"] for row in whole.csv("split.csv") if row["split"] == "train")
    names = sorted(r["path"] for r in whole.csv("split.csv"))
    with spoilt(names.index(path)) as watching, pytest.raises(RunStopped) as end:
        run_train(tmp_path / "run", *plain, *watching)
    message = str(end.value)
    assert "The loss is nan in epoch 1, step " in message and message.count("\n  ") == 1
    assert "Images whose outputs are not finite" in message and path in message
    step = int(message.split("step ")[1].split(".")[0])
    state = Run(tmp_path / "run", None).checkpoint("nonfinite")
    assert state["global_step"] == step - 1 == state["finetune"]["batches_done"]
    # With the cause gone, the run goes on from the state that was saved, and ends as if nothing had been.
    train(compose(f"output_dir={tmp_path}/x", f"resume={tmp_path}/run/checkpoints/nonfinite.ckpt", TRUSTED))
    assert_same_end(Run(tmp_path / "run", None), whole)


def test_batches_whose_loss_is_not_finite_can_be_left_out(tmp_path: Path, plain: tuple[str, ...]) -> None:
    settings = [*plain, "on_nonfinite_loss=skip", "data.val_fraction=0.1", "data.test_fraction=0"]
    with spoilt(row=3) as watching:
        run = run_train(tmp_path / "run", *settings, *watching)
    weights = run.checkpoint("last")["state_dict"]
    assert all(bool(value.isfinite().all()) for value in weights.values())
    assert run.log.count("Batch left out") == 2  # one per epoch
    assert run.metrics["last/train/loss"] > 0
    steps = {int(state["step"]) for state in run.checkpoint("last")["optimizer_states"][0]["state"].values()}
    assert steps == {2 * 14 - 2}


def test_weights_that_are_not_finite_are_told_apart(tmp_path: Path, plain: tuple[str, ...]) -> None:
    with pytest.raises(RunStopped, match="The weights are not finite any more, since an earlier step"):
        run_train(tmp_path / "run", *plain, "optimizer=sgd", "optimizer.lr=1e38", "on_nonfinite_loss=skip")
    assert not (tmp_path / "run" / "checkpoints" / "nonfinite.ckpt").exists()


# --------------------------------------------------------------------------------------------------------- bad disks


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, plain: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk runs full while the second epoch's checkpoint is written."""
    real_fsync, calls = os.fsync, []

    def fsync(number: int) -> None:
        calls.append(number)
        if len(calls) == 4:  # best, last, best, last
            raise OSError(28, "No space left on device")
        real_fsync(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(RunStopped, match=r"last.ckpt could not be written: No space left on device, .* MiB free"):
        run_train(tmp_path / "run", *plain, "task.monitor=val/loss", "task.mode=min", "optimizer.lr=1e-4")
    run = Run(tmp_path / "run", None)
    assert run.checkpoint("last")["epoch"] == 0
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_run_directory_that_is_removed_meanwhile_is_made_again(tmp_path: Path, plain: tuple[str, ...]) -> None:
    def remove(trainer: Trainer, _: Any) -> None:
        if trainer.current_epoch == 1:
            shutil.rmtree(tmp_path / "run" / "checkpoints")

    with watched(on_train_epoch_start=remove) as watching:
        run = run_train(tmp_path / "run", *plain, *watching)
    assert run.checkpoint("last")["epoch"] == 1 and "val/acc" in run.metrics


UNHARMED = "What was written before is unharmed."


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk")
def test_a_full_disk_is_told_in_one_message(tmp_path: Path, plain: tuple[str, ...], command) -> None:
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=15m", "tmpfs", str(disk)]).returncode:
        pytest.skip("may not mount")
    try:
        answer = command("train", *plain, "trainer=cpu", "trainer.max_epochs=9", f"output_dir={disk}/run", "soup=5")
        assert answer.status == 1 and "Traceback" not in answer.err
        assert "could not be written: No space left on device" in answer.err and "MiB free" in answer.err
        cli.set_up_log(None)  # closes train.log
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        answer = command("train", "trainer=cpu", f"output_dir={disk}/other")
        assert answer.status == 1 and answer.err.startswith(f"output_dir='{disk}/other' cannot be used: Read-only")
        kept = [torch.load(file, weights_only=True) for file in disk.rglob("*.ckpt")]
        assert kept and not list(disk.rglob(".*.part.*"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("measured", [slow("on_validation_batch_start"), "on_test_batch_start"])
def test_ctrl_c_while_the_best_weights_are_measured(
    tmp_path: Path, plain: tuple[str, ...], command, measured: str
) -> None:
    """Lightning turns it into an exit of its own, with a status of 1 and without a word."""

    def interrupt(trainer: Trainer, *_: Any) -> None:
        if trainer.state.fn != "fit":
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
    settings = [*plain, "test=true", "trainer=cpu", "trainer.max_epochs=1", "logger=none", f"output_dir={tmp_path}/run"]
    settings.remove("test=false")
    try:
        with watched(**{measured: interrupt}) as watching:
            answer = command("train", *settings, *watching)
    finally:
        signal.signal(signal.SIGINT, before)
    assert answer.status == 130 and f"Go on with: python -m src.train resume={tmp_path}/run" in answer.err
