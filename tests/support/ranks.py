"""Trainings that two processes do together, one plan after the other, and what their weights hashed to."""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from conftest import Answer, Run
from lightning import LightningModule, Trainer
from support.processes import run_two
from support.watching import watched

Plans = Mapping[str, Sequence[str]]  # by name: all settings of a run


def train_plans(folder: Path, plans: Plans, watch: Callable[..., Any] | None = None) -> None:
    """A run for each plan in `folder`. `watch(folder, plan, on_train_end=...)`, a function of a module, watches it as
    `watched` does.
    """
    assert run_two(train_as, folder, [plans, watch]) == [0, 0]


def train_as(rank: int, port: int, folder: str, given: list[Any]) -> None:
    torch.set_num_threads(1)
    from conftest import run_train

    from src.cli import command as cli
    from src.settings.schema import register

    register()
    cli.register_resolvers()
    plans, watch = given
    hashes: list[str] = []

    def on_train_end(trainer: Trainer, task: LightningModule) -> None:
        digest = hashlib.sha256()
        for name, value in task.state_dict().items():
            if name.startswith("model."):  # buffers and what is frozen included
                digest.update(value.contiguous().numpy().tobytes())
        hashes.append(digest.hexdigest())

    with contextlib.redirect_stderr(io.StringIO()) as err:
        for plan, settings in plans.items():
            os.environ.update(LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            hashes.clear()
            doing = {"on_train_end": on_train_end}
            with watched(**doing) if watch is None else watch(Path(folder), plan, **doing) as watching:
                run_train(Path(folder) / plan, *settings, *watching)
            Path(folder, f"{plan}_{rank}.json").write_text(json.dumps(hashes))
    Path(folder, f"log_{rank}.txt").write_text(err.getvalue())


def hashes_of(folder: Path, plan: str) -> tuple[list[str], list[str]]:
    """After each phase, by each process."""
    first, second = (json.loads((folder / f"{plan}_{rank}.json").read_text()) for rank in range(2))
    return first, second


def measured_alone(run: Run, split: str, command: Callable[..., Answer]) -> dict[str, Any]:
    """The metrics of a split by src.evaluate, in one process."""
    file = run.directory / f"alone_{split}.json"
    answer = command("evaluate", f"ckpt={run.directory}", f"split={split}", f"output={file}")
    assert answer.status == 0, answer.err
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def are_uneven(run: Run) -> bool:
    """Whether a split cannot be shared out evenly among two processes."""
    images = run.csv("split.csv")
    return any(sum(image["split"] == split for image in images) % 2 for split in ("val", "test"))
