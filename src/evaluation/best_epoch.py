"""Which epoch is the best."""

from collections.abc import Sequence


def is_better(value: float, best: float, mode: str) -> bool:
    """Whether an epoch with `value` takes the place of the best before it. `mode`: max or min is better.

    Equal ones do not, but for those that found nothing at all: 0, where more is better. A detector's AP may be 0 for
    some epochs while it learns, and the latest of these is nearer to finding something.
    """
    if mode == "max":
        return value > best or value == best == 0
    return value < best


def best_epoch(values: Sequence[float], mode: str) -> int:
    """The place of the best of these, 0..E-1, which are in order and not empty."""
    best = 0
    for epoch, value in enumerate(values):
        if is_better(value, values[best], mode):
            best = epoch
    return best
