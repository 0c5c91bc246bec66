"""What a Trainer has for a while: more callbacks, or no loggers. It has no arguments for it once it is made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lightning import Callback, Trainer


@contextmanager
def watched_by(trainer: Trainer, callbacks: Sequence[Callback]) -> Iterator[None]:
    """These callbacks as well, after the trainer's own."""
    before: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    trainer.callbacks = [*before, *callbacks]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        trainer.callbacks = before  # type: ignore[attr-defined]


@contextmanager
def without_loggers(trainer: Trainer) -> Iterator[None]:
    """What is measured goes into no curve."""
    before = trainer.loggers
    trainer.loggers = []
    try:
        yield
    finally:
        trainer.loggers = before
