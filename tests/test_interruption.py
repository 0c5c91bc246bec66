"""Runs that end before their time: killed, told to end, out of disk, out of numbers. And how they go on."""

import contextlib
import io
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Run, compose, run_train

from src.errors import RunStopped
from src.train import train


@pytest.fixture(scope="module")
def plain(colors: Path) -> tuple[str, ...]:
    """Eleven batches an epoch."""
    return ("data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=4", "test=false")


def assert_same(actual: Any, expected: Any, at: str = "") -> None:
    """Nested plain data with tensors, bit by bit."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(actual, expected), at
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys(), at
        for key in expected:
            assert_same(actual[key], expected[key], f"{at}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected), at
        for i, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert_same(one, other, f"{at}.{i}")
    else:
        assert actual == expected or (actual != actual and expected != expected), at


def assert_same_end(resumed: Run, whole: Run) -> None:
    """Weights, their moving average, optimizer, schedule, and every metric."""
    expected, actual = whole.checkpoint("last"), resumed.checkpoint("last")
    for key in ("state_dict", "trained_state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert (key in expected) == (key in actual)
        if key in expected:
            assert_same(actual[key], expected[key], key)
    assert_same(actual["callbacks"]["EpochLog"], expected["callbacks"]["EpochLog"])
    metrics, wanted = resumed.metrics, whole.metrics
    assert metrics.keys() == wanted.keys()
    for name in wanted.keys() - {"fit_seconds"}:
        assert metrics[name] == wanted[name] or metrics[name] is None, name


# ------------------------------------------------------------------------------------------------- within epochs


class Stop(Exception):
    pass


EVERYTHING = (
    *("freeze=head_then_all", "freeze.phases.0.epochs=1", "augment=strong", "augment.mixup=0.4", "augment.cutmix=1.0"),
    *("head.dropout=0.3", "data.balanced_sampling=true", "ema_decay=0.9", "scheduler=onecycle", "soup=2"),
    *("param_groups.layer_decay=0.8", "callbacks=early_stopping", "trainer.deterministic=true"),
)


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        (EVERYTHING, 9),  # in the first phase
        (EVERYTHING, 19),
        (("trainer.accumulate_grad_batches=2", "data.num_workers=2", "optimizer=sgd", "scheduler=step"), 9),
        (("data.cache=auto", "freeze=head_only", "augment=none", "optimizer=sgd"), 14),
        (("scheduler=plateau", "scheduler.patience=0"), 14),
    ],
)
def test_a_run_resumed_within_an_epoch_ends_as_the_uninterrupted_one(
    tmp_path: Path, plain: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], step: int
) -> None:
    common = [*plain, "trainer.max_epochs=3", "checkpoint_every_n_steps=2", f"data.cache_dir={tmp_path}/cache"]
    whole = run_train(tmp_path / "whole", *common, *settings)
    from src.tasks.classification import ClassificationTask

    plain_step = ClassificationTask.training_step

    def training_step(self: ClassificationTask, batch: dict, batch_idx: int) -> torch.Tensor | None:
        if self.global_step == step:
            raise Stop
        return plain_step(self, batch, batch_idx)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(ClassificationTask, "training_step", training_step)
        run_train(tmp_path / "run", *common, *settings)
    stopped = Run(tmp_path / "run", None).checkpoint("last")
    assert stopped["finetune"]["batches_done"] > 0 and step - 2 <= stopped["global_step"] <= step
    train(compose(f"output_dir={tmp_path}/elsewhere", f"resume={tmp_path}/run"))
    assert_same_end(Run(tmp_path / "run", None), whole)


def test_within_an_epoch_the_batches_have_to_stay(tmp_path: Path, plain: tuple[str, ...], command) -> None:
    run_train(tmp_path / "run", *plain, "checkpoint_every_n_steps=3", "trainer.max_epochs=1")
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    saved["finetune"]["batches_done"] = 6
    torch.save(saved, tmp_path / "run" / "checkpoints" / "last.ckpt")
    answer = command("train", f"resume={tmp_path}/run", "data.batch_size=8")
    assert answer.status == 1 and "interrupted within an epoch, 6 batches into it" in answer.err


# ------------------------------------------------------------------------------------------- killed, told to end


def child(directory: str, resume: bool, settings: list[str]) -> None:
    """A process that trains; exit status as the command's."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        torch.set_num_threads(1)
        from conftest import run_train

        from src import cli
        from src.config import register

        register()
        cli.register_resolvers()
        try:
            if resume:
                cfg = compose(f"output_dir={directory}", f"resume={directory}")
                cli.set_up_log(Path(directory))
                train(cfg)
            else:
                run_train(Path(directory), *settings)
        except RunStopped as stopped:
            sys.exit(stopped.status)


def start(directory: Path, settings: list[str]) -> Any:
    """Forked from a process that has imported everything already: it trains at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["src.train", "src.build", "src.measure", "conftest"])
    resume = (directory / "checkpoints" / "last.ckpt").exists()
    process = context.Process(target=child, args=(str(directory), resume, settings))
    process.start()
    return process


@pytest.mark.slow
def test_killed_at_ten_random_moments_the_run_ends_as_the_one_that_was_never_stopped(
    tmp_path: Path, plain: tuple[str, ...]
) -> None:
    settings = [*plain, *EVERYTHING, "trainer.max_epochs=4", "checkpoint_every_n_steps=3"]
    whole = start(tmp_path / "whole", settings)
    whole.join()
    begun = time.time()
    whole = start(tmp_path / "again", settings)
    whole.join()
    seconds = time.time() - begun
    assert whole.exitcode == 0
    assert_same_end(Run(tmp_path / "again", None), Run(tmp_path / "whole", None))
    moments, kills, ended, seed = random.Random(time.time_ns()), 0, 0, random.Random().getrandbits(32)
    moments.seed(seed)
    print(f"seed of the moments: {seed}")
    while kills < 10 or not ended:
        directory = tmp_path / f"run{ended}"
        process = start(directory, settings)
        process.join(moments.uniform(0.1, 0.7) * seconds if kills < 10 else None)
        if process.is_alive():
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
            kills += 1
        else:
            assert process.exitcode == 0
            assert_same_end(Run(directory, None), Run(tmp_path / "whole", None))
            ended += 1


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
