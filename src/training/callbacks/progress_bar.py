"""A bar for the batches of an epoch."""

import sys
import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.progress import Progress

from src.cli.progress import progress_bar
from src.training.callbacks.every_batch import EveryBatch
from src.training.task import FineTuneTask


class ProgressBar(EveryBatch):
    """A bar for the batches of the current epoch, on terminals only; it leaves nothing behind."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def show(self, description: str, batches: int | float) -> None:
        self.hide()
        if not sys.stderr.isatty():
            return
        self.progress = progress_bar()
        self.progress.start()
        self.bar = self.progress.add_task(description, total=batches, speed="", loss="")
        self.start, self.seen = time.perf_counter(), 0

    def hide(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        """A run that goes on within an epoch has no start of that epoch."""
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self.on_train_epoch_start(trainer, task)
        if self.progress is not None:
            self.progress.update(self.bar, completed=done)

    @rank_zero_only
    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        assert isinstance(task, FineTuneTask)
        self.show(f"epoch {trainer.current_epoch + 1}/{task.total_epochs}", trainer.num_training_batches)

    @rank_zero_only
    def on_validation_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.show("validate", sum(trainer.num_val_batches))

    @rank_zero_only
    def on_test_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.show("test", sum(trainer.num_test_batches))

    @rank_zero_only
    def see(self, trainer: Trainer, split: str, outputs: Any, batch: Any, i: int) -> None:
        """Reading the loss makes a GPU wait, so not at every step."""
        if self.progress is None:
            return
        self.seen += len(batch["label"])
        speed = f"{self.seen / (time.perf_counter() - self.start):.0f} img/s"
        self.progress.update(self.bar, advance=1, speed=speed)
        if split == "train" and outputs and i % 10 == 0:
            self.progress.update(self.bar, loss=f"loss {outputs['loss'].item():.4f}")

    @rank_zero_only
    def epoch_end(self, trainer: Trainer, split: str) -> None:
        if split != "train":
            self.hide()

    def on_exception(self, trainer: Trainer, task: LightningModule, exception: BaseException) -> None:
        self.hide()

    def on_train_end(self, trainer: Trainer, task: LightningModule) -> None:
        self.hide()
