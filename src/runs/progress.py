"""How far a training is, as each checkpoint carries it beside the record; and how many epochs its phases have."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from src.runs.record import CHECKPOINT_KEY
from src.runs.record_check import require_entries
from src.settings.errors import ConfigError
from src.settings.plain_values import Rules, is_number

MOST_EPOCHS = 1_000_000


@dataclass(frozen=True)
class Progress:
    """Of a training that a checkpoint interrupts.

    `phase`: number from 0. `phase_start_epoch`: in the whole run. `phase_epochs`: of all phases of the plan.
    `moves_per_epoch`: of the current phase's schedule. `batches_done`: of an epoch that is interrupted within, of each
    of the `processes`. `training_metrics`: what that epoch has counted so far. `metrics`: last logged. `fit_seconds`:
    since the training began, pauses left out.
    """

    phase: int
    phase_start_epoch: int
    phase_epochs: list[int]
    epochs_done: int
    moves_per_epoch: int
    batches_done: int
    processes: int
    training_metrics: dict[str, dict[str, Tensor]]
    metrics: dict[str, float]
    fit_seconds: float

    @classmethod
    def of(cls, checkpoint: dict[str, Any], file: Path) -> "Progress":
        """What a checkpoint carries. Raises ConfigError, which names the entry."""
        values = checkpoint[CHECKPOINT_KEY]
        require_entries(values, RULES, f"{CHECKPOINT_KEY}.", file)
        return cls(**{one.name: values[one.name] for one in fields(cls)})


def unfit(file: Path, why: str) -> ConfigError:
    return ConfigError(
        f"'{file}' cannot be gone on with: {why}. It is damaged, or was written by another version of this project."
    )


def is_count(value: Any, low: int = 0, high: int = 10**12) -> bool:
    return isinstance(value, int) and is_number(value, low, high)


def is_epoch(value: Any) -> bool:
    return is_count(value, 0, MOST_EPOCHS)


def are_mappings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and isinstance(v, dict) for key, v in value.items())


RULES: Rules = {
    "phase": (is_count, "a whole number"),
    "phase_start_epoch": (is_epoch, "a number of epochs"),
    "phase_epochs": (
        lambda v: isinstance(v, list) and bool(v) and all(is_count(one, 1, MOST_EPOCHS) for one in v),
        "a list of numbers of epochs",
    ),
    "epochs_done": (is_epoch, "a number of epochs"),
    "moves_per_epoch": (lambda v: is_count(v, 1), "a whole number above 0"),
    "batches_done": (is_count, "a whole number"),
    "processes": (lambda v: is_count(v, 1), "a whole number above 0"),
    "training_metrics": (are_mappings, "states of metrics"),
    "metrics": (lambda v: isinstance(v, dict) and all(isinstance(one, int | float) for one in v.values()), "numbers"),
    "fit_seconds": (lambda v: is_number(v, 0), "a number of seconds"),
}


def shares(epochs: list[int | None], total: int) -> list[int]:
    """The epochs of each phase: None becomes an equal share of what the others leave of `total`."""
    open_phases = [i for i, number in enumerate(epochs) if number is None]
    part, over = divmod(total - sum(number or 0 for number in epochs), max(len(open_phases), 1))
    return [part + (i == open_phases[-1]) * over if number is None else number for i, number in enumerate(epochs)]


def lengthened(plan: list[int | None], progress: Progress, before: int, max_epochs: int) -> list[int]:
    """The epochs that the phases of a resumed run had, or, if trainer.max_epochs has changed, shares of what is left.

    `plan` is as in `shares`; trainer.max_epochs was `before`, and is `max_epochs` now. Raises ConfigError if that is
    less than there were, or too few for the phases that are left.
    """
    epochs, first = list(progress.phase_epochs), progress.phase
    if max_epochs != before:
        left = max_epochs - progress.phase_start_epoch
        if left < progress.epochs_done - progress.phase_start_epoch or left < len(plan) - first:
            raise ConfigError(
                f"trainer.max_epochs={max_epochs} is less than the {progress.epochs_done} epochs that the run has "
                f"trained, and what its freeze plan still has to do (phase {first + 1} of {len(plan)}): raise it."
            )
        epochs[first:] = shares(plan[first:], left)
    return epochs
