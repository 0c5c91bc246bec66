"""How many epochs each phase of a freeze plan has."""

from src.runs.progress import Progress
from src.settings.errors import ConfigError


def shares(epochs: list[int | None], total: int) -> list[int]:
    """The epochs of each phase: None becomes an equal share of what the others leave of `total`."""
    open_phases = [i for i, number in enumerate(epochs) if number is None]
    part, over = divmod(total - sum(number or 0 for number in epochs), max(len(open_phases), 1))
    return [part + (i == open_phases[-1]) * over if number is None else number for i, number in enumerate(epochs)]


def lengthened(plan: list[int | None], progress: Progress, before: int, max_epochs: int) -> list[int]:
    """The epochs that the phases of a resumed run had, or, if trainer.max_epochs has changed, shares of what is left.

    Args:
        plan: epochs that the plan gives to each phase; None = a share of the rest.
        progress: of the interrupted run.
        before: its trainer.max_epochs.
        max_epochs: that are wanted now.

    Raises:
        ConfigError: if fewer are wanted than there were, or too few for the phases that are left.
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
