"""What the answers for a split's images say: intervals by resampling, classes, mistakes, what abstaining would give.

Shapes: N images, K classes, T targets. Probabilities are calibrated. `weights_N` say how often each image counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from src.evaluation.calibration import BINS, Floats

Ints = npt.NDArray[np.int64]
Interval = tuple[float, float]
RESAMPLES = 1000
CONFIDENCE = 0.95

# ------------------------------------------------------------------------------------------------------------ intervals


def bootstrap(
    measure: Callable[[Floats], dict[str, float]], images: int, groups_N: Ints | None, seed: int = 0
) -> dict[str, Interval]:
    """95 % percentile intervals (Efron 1979) of what `measure` says for weights [N]: what other images would give.

    Images of a group (a patient, say) are drawn together, since they are no independent ones. An interval without
    width is left out: resampling cannot say how rare a mistake is that none of the images shows.
    """
    generator = np.random.default_rng(seed)
    units = np.arange(images) if groups_N is None else np.unique(groups_N, return_inverse=True)[1]
    number = int(units.max()) + 1
    drawn = [
        measure(np.bincount(generator.integers(number, size=number), minlength=number)[units].astype(np.float64))
        for _ in range(RESAMPLES)
    ]
    tail = 100 * (1 - CONFIDENCE) / 2
    intervals = {}
    for name in drawn[0]:
        values = np.array([one[name] for one in drawn])
        low, high = (float(value) for value in np.nanpercentile(values, [tail, 100 - tail]))
        if low < high:
            intervals[name] = (low, high)
    return intervals


def wilson_interval(right: int, images: int) -> Interval:
    """95 % interval of a share (Wilson 1927), of use where nothing or everything is right."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = right / images
    middle = share + z * z / (2 * images)
    half = z * float(np.sqrt(share * (1 - share) / images + z * z / (4 * images**2)))
    scale = 1 + z * z / images
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)


def classification_intervals(
    probabilities_NK: Floats, labels_N: Ints, groups_N: Ints | None = None
) -> dict[str, Interval]:
    """Of acc, balanced_acc, f1 (as in src/training/metrics.py), ece and brier."""
    classes = probabilities_NK.shape[1]
    confidences_N, predicted_N = probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1)
    right_N = predicted_N == labels_N
    true_N = probabilities_NK[np.arange(len(labels_N)), labels_N]
    squared_N = np.square(probabilities_NK).sum(axis=1) - 2 * true_N + 1  # the Brier score of each image
    bins_N = np.minimum((confidences_N * BINS).astype(np.int64), BINS - 1)

    def measure(weights_N: Floats) -> dict[str, float]:
        total = weights_N.sum()
        right_K = np.bincount(labels_N[right_N], weights=weights_N[right_N], minlength=classes)
        true_K = np.bincount(labels_N, weights=weights_N, minlength=classes)
        predicted_K = np.bincount(predicted_N, weights=weights_N, minlength=classes)
        seen_K = true_K + predicted_K > 0
        gaps = np.bincount(bins_N, weights=weights_N * (confidences_N - right_N), minlength=BINS)
        return {
            "acc": right_K.sum() / total,
            "balanced_acc": (right_K / np.maximum(true_K, 1e-12))[true_K > 0].mean(),
            "f1": (2 * right_K / np.maximum(true_K + predicted_K, 1e-12))[seen_K].mean(),
            "ece": np.abs(gaps).sum() / total,
            "brier": (weights_N * squared_N).sum() / total,
        }

    intervals = bootstrap(measure, len(labels_N), groups_N)
    if right_N.all() or not right_N.any():
        intervals["acc"] = wilson_interval(int(right_N.sum()), len(labels_N))
    return intervals


def multilabel_intervals(
    probabilities_NK: Floats, labels_NK: npt.NDArray[np.uint8], shown_NK: npt.NDArray[np.bool_], groups_N: Ints | None
) -> dict[str, Interval]:
    """Of map, f1_macro and f1_micro (as in src/training/metrics.py); `shown_NK` are the answers."""
    order_NK = np.argsort(-probabilities_NK, axis=0, kind="stable")
    sorted_NK = np.take_along_axis(labels_NK > 0, order_NK, axis=0)
    occurs_K = labels_NK.sum(axis=0) > 0
    right_NK, both_NK = (labels_NK > 0) & shown_NK, labels_NK.astype(np.int64) + shown_NK

    def measure(weights_N: Floats) -> dict[str, float]:
        weights_NK = weights_N[order_NK]
        hits_NK = np.cumsum(weights_NK * sorted_NK, axis=0)
        precision_NK = hits_NK / np.maximum(np.cumsum(weights_NK, axis=0), 1e-12)
        total_K = hits_NK[-1]
        average_K = (precision_NK * weights_NK * sorted_NK).sum(axis=0) / np.maximum(total_K, 1e-12)
        right_K, both_K = weights_N @ right_NK, weights_N @ both_NK
        used_K = occurs_K & (total_K > 0)
        return {
            "map": average_K[used_K].mean(),
            "f1_macro": (2 * right_K / np.maximum(both_K, 1e-12))[used_K].mean(),
            "f1_micro": 2 * right_K.sum() / max(both_K.sum(), 1e-12),
        }

    return bootstrap(measure, len(labels_NK), groups_N)


def regression_intervals(values_NT: Floats, labels_NT: Floats, groups_N: Ints | None) -> dict[str, Interval]:
    """Of mae, rmse and r2, means over the targets (as in src/tasks/regression/task.py)."""
    errors_NT = values_NT - labels_NT

    def measure(weights_N: Floats) -> dict[str, float]:
        share_N = weights_N / weights_N.sum()
        squared_T = share_N @ np.square(errors_NT)
        variance_T = share_N @ np.square(labels_NT - share_N @ labels_NT)
        varies_T = variance_T > 1e-12 * (share_N @ np.square(labels_NT))  # more than rounding leaves
        return {
            "mae": float((share_N @ np.abs(errors_NT)).mean()),
            "rmse": float(np.sqrt(squared_T).mean()),
            "r2": float(np.where(varies_T, 1 - squared_T / np.where(varies_T, variance_T, 1), 0).mean()),
        }

    return bootstrap(measure, len(labels_NT), groups_N)


# -------------------------------------------------------------------------------------------------------------- classes


@dataclass(frozen=True)
class ClassScores:
    """Of each class [K], 0..1: precision, recall, F1; and how many images show it."""

    precision: Floats
    recall: Floats
    f1: Floats
    images: Ints


def class_scores(right_K: Ints, true_K: Ints, predicted_K: Ints) -> ClassScores:
    """From how often each class was answered rightly, how often it is there, how often it was answered."""
    return ClassScores(
        precision=right_K / np.maximum(predicted_K, 1),
        recall=right_K / np.maximum(true_K, 1),
        f1=2 * right_K / np.maximum(true_K + predicted_K, 1),
        images=true_K,
    )


# ----------------------------------------------------------------------------------------------------------- abstaining


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
        right: Any = right_N[answered_N].mean() if answered_N.any() else None
        rows.append((threshold, float(answered_N.mean()), None if right is None else float(right)))
    return rows
