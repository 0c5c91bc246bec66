"""Callbacks that look at the batches of train, val and test alike, and finding one among a trainer's."""

from typing import Any, TypeVar

from lightning import Callback, LightningModule, Trainer

Kind = TypeVar("Kind", bound=Callback)


class EveryBatch(Callback):
    """Calls `see` with each batch and what its step returned, and `epoch_end`, wherever they come from."""

    def see(self, trainer: Trainer, split: str, outputs: Any, batch: Any, i: int) -> None:
        """After batch `i` of an epoch of train, val or test."""

    def epoch_end(self, trainer: Trainer, split: str) -> None:
        """After the last batch of it."""

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        self.see(trainer, "train", outputs, batch, i)

    def on_validation_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.see(trainer, "val", outputs, batch, i)

    def on_test_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.see(trainer, "test", outputs, batch, i)

    def on_train_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        self.epoch_end(trainer, "train")

    def on_validation_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        self.epoch_end(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        self.epoch_end(trainer, "test")


def find_callback(trainer: Trainer, kind: type[Kind]) -> Kind | None:
    """The trainer's first callback of this class."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)
