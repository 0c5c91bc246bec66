"""Trainings in processes of their own, which are killed and go on."""

import contextlib
import io
import multiprocessing
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from conftest import Run, compose
from support.resumed import assert_same_end

from src.settings.errors import RunStopped
from src.train import train


def child(directory: str, resume: bool, settings: list[str]) -> None:
    """A process that trains; exit status as the command's."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        torch.set_num_threads(1)
        from conftest import run_train

        from src.cli import command as cli
        from src.settings.schema import register

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
    context.set_forkserver_preload(["src.train", "src.build.task", "src.training.outcome", "conftest"])
    resume = (directory / "checkpoints" / "last.ckpt").exists()
    process = context.Process(target=child, args=(str(directory), resume, settings))
    process.start()
    return process


def kill_and_resume(tmp_path: Path, settings: list[str], wanted: int) -> None:
    """Runs that are killed at random moments, so many times in all, end as the one that was never stopped."""
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
    while kills < wanted or not ended:
        directory = tmp_path / f"run{ended}"
        process = start(directory, settings)
        process.join(moments.uniform(0.1, 0.7) * seconds if kills < wanted else None)
        process.kill()  # does nothing to a process that has ended, which may happen at this very moment
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
        else:
            assert process.exitcode == 0
            assert_same_end(Run(directory, None), Run(tmp_path / "whole", None))
            ended += 1
