"""Saving a run when its process is told to end, and now and then within long epochs."""

import logging
import os
import signal
import subprocess
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from src.cli.run_dir import resume_command
from src.settings.errors import TERMINATED, RunStopped

log = logging.getLogger(__name__)


class StepCheckpoint(Checkpoint):
    """Writes last.ckpt within epochs: every so many steps, and when the process is told to end, as the run then does.

    It is told by SIGTERM, under Windows by SIGBREAK (Ctrl+Break). In a job of SLURM, SIGUSR1 (`sbatch
    --signal=USR1@120`) does the same and puts the job back into the queue, as Lightning does; so does SIGTERM if it
    announces a preemption. All are heeded at the next optimizer step, since gradients that are being accumulated are in
    no checkpoint, or at the end of the epoch if val is being measured. `dirpath`: folder of last.ckpt. `every_n_steps`:
    optimizer steps; None = at signals only.
    """

    def __init__(self, dirpath: str, every_n_steps: int | None = None) -> None:
        self.file = Path(dirpath) / "last.ckpt"
        self.every_n_steps = every_n_steps
        self.received: signal.Signals | None = None
        self.saved_at = 0

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Lightning puts its own handlers in place before, and takes away all of them after the fit."""
        self.saved_at = trainer.global_step
        for name in ("SIGTERM", "SIGBREAK", *(["SIGUSR1"] if "SLURM_JOB_ID" in os.environ else [])):
            if hasattr(signal, name):  # each system has its own
                signal.signal(getattr(signal, name), self.receive)

    def receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        progress = trainer.fit_loop.epoch_loop.batch_progress
        between_steps = not trainer.fit_loop._should_accumulate()
        if not between_steps or progress.is_last_batch or progress.current.ready >= trainer.num_training_batches:
            return  # the epoch's own checkpoint comes next
        ending = self.is_ending(trainer)
        due = self.every_n_steps is not None and trainer.global_step - self.saved_at >= self.every_n_steps
        if ending or due:
            self.saved_at = trainer.global_step
            trainer.save_checkpoint(self.file)
        if ending:
            self.end(trainer)

    def on_train_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        """The other checkpoints come before this one, see conf/callbacks/default.yaml."""
        self.saved_at = trainer.global_step
        if self.is_ending(trainer):
            self.end(trainer)

    def is_ending(self, trainer: Trainer) -> bool:
        """Whether some process was told to end; the processes have to agree, or the others would wait for it."""
        if trainer.world_size > 1:
            number = torch.tensor(int(self.received or 0), device=trainer.strategy.root_device)
            highest = int(trainer.strategy.reduce(number, reduce_op="max"))
            self.received = signal.Signals(highest) if highest else None
        return self.received is not None

    def end(self, trainer: Trainer) -> None:
        assert self.received is not None
        if trainer.is_global_zero and (self.received.name == "SIGUSR1" or is_preempted()):
            requeue()
        raise RunStopped(
            f"{self.received.name}: saved after step {trainer.global_step}. "
            f"Go on with: {resume_command(self.file.parents[1])}",
            status=TERMINATED,
        )


def is_preempted() -> bool:
    """Whether SLURM wants this job to make room. One that ends by itself in its grace time counts as failed there."""
    if "SLURM_JOB_ID" not in os.environ:
        return False
    job = subprocess.run(["scontrol", "show", "job", slurm_job()], capture_output=True, text=True)
    return " PreemptTime=" in job.stdout and " PreemptTime=None" not in job.stdout


def slurm_job() -> str:
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def requeue() -> None:
    """Put this job of SLURM back into the queue."""
    job = slurm_job()
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        log.error("SLURM did not put job %s back into the queue: %s", job, done.stderr.strip())
    else:
        log.info("SLURM puts job %s back into the queue.", job)
