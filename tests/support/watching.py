"""A user's callback, named in the settings as any other, that does what a test says: fails, asks to stop, looks."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from lightning import Callback, LightningModule, Trainer

WATCHED = ["+callbacks.watcher._target_=support.watching.Watcher"]
TRUSTED = "trust=true"  # to resume such a run: its callback is not ours


class Watcher(Callback):
    doing: ClassVar[dict[str, Callable[..., None]]] = {}


def _hook(name: str) -> Callable[..., None]:
    return lambda self, *arguments: self.doing[name](*arguments) if name in self.doing else None


for name in (
    "on_train_epoch_start", "on_train_batch_start", "on_train_batch_end", "on_train_end", "on_validation_batch_start",
    "on_validation_epoch_end", "on_test_batch_start",
):  # fmt: skip
    setattr(Watcher, name, _hook(name))


@contextlib.contextmanager
def watched(**doing: Callable[..., None]) -> Iterator[list[str]]:
    """Settings of a run whose hooks (`on_train_batch_start=...`) are called as long as the context lasts."""
    Watcher.doing = doing
    try:
        yield WATCHED
    finally:
        Watcher.doing = {}


class Stop(Exception):
    pass


def stopped(epoch: int | None = None, batch: int = 1, step: int | None = None) -> Any:
    """As `watched`: as if the machine went down in the middle of an epoch, or at a step."""

    def stop(trainer: Trainer, task: LightningModule, _: Any, position: int) -> None:
        if trainer.global_step == step or (trainer.current_epoch, position) == (epoch, batch):
            raise Stop

    return watched(on_train_batch_start=stop)


def spoilt(row: int, **doing: Callable[..., None]) -> Any:
    """As `watched`: the network's outputs for one image of the training are not numbers."""

    def spoil(trainer: Trainer, task: LightningModule, batch: dict[str, Any], _: int) -> None:
        bad_B = batch["index"] == row
        hook = task.model.register_forward_hook(
            lambda model, given, outputs_BK: outputs_BK.masked_fill(bad_B[:, None], float("nan"))
        )
        hooks.append(hook)

    def leave(*_: Any) -> None:
        hooks.pop().remove()

    hooks: list[Any] = []
    return watched(on_train_batch_start=spoil, on_train_batch_end=leave, **doing)
