"""What giving only the surest answers would be worth. N images."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def accuracy_by_coverage(confidences_N: Floats, right_N: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """If only the surest answers are given: their share [N] of all, and how many of them are right, 0..1 [N]."""
    order_N = np.argsort(-confidences_N, kind="stable")
    answered_N = np.arange(1, len(order_N) + 1)
    return answered_N / len(order_N), np.cumsum(right_N[order_N]) / answered_N


def abstaining(confidences_N: Floats, right_N: npt.NDArray[np.bool_]) -> list[tuple[float, float, float | None]]:
    """(abstain_below, share answered, share of these that is right; None where nothing is answered)."""
    rows: list[tuple[float, float, float | None]] = []
    for threshold in (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99):
        answered_N = confidences_N >= threshold
        right = float(right_N[answered_N].mean()) if answered_N.any() else None
        rows.append((threshold, float(answered_N.mean()), right))
    return rows
