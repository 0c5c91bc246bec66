"""Pixels of each class that were taken for each class, and the metrics that follow from them.

Shapes: N images, K classes. A confusion has rows for the true class and columns for the one that was found.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from src.evaluation.intervals import Floats, Interval, Ints, bootstrap

VOID = 255  # the class id of pixels of which nobody says what they show
Counts = npt.NDArray[np.int64] | Floats  # [K, K] pixels


@dataclass(frozen=True)
class ClassScores:
    """Of each class, float64 [K]: intersection over union, Dice (F1 of its pixels), recall and precision, 0..1, higher
    is better. All are NaN for classes that no true pixel has.
    """

    iou: Floats
    dice: Floats
    recall: Floats
    precision: Floats


def class_scores(confusion_KK: Counts) -> ClassScores:
    right_K = np.diagonal(confusion_KK).astype(np.float64)
    true_K, found_K = confusion_KK.sum(axis=1), confusion_KK.sum(axis=0)
    there_K = true_K > 0

    def share(parts_K: Floats, wholes_K: Counts) -> Floats:
        return np.where(there_K, parts_K / np.maximum(wholes_K, 1e-12), np.nan)

    return ClassScores(
        iou=share(right_K, true_K + found_K - right_K),
        dice=share(2 * right_K, true_K + found_K),
        recall=share(right_K, true_K),
        precision=share(right_K, found_K),
    )


def pixel_metrics(confusion_KK: Counts) -> dict[str, float]:
    """`miou`, `dice`: means over the classes that are there, so that a class that no image shows counts for nothing;
    where it is found by mistake, the class that is there loses. `acc`: share of the pixels that are right. Void pixels
    were not counted. NaN of no pixels.
    """
    scores, every = class_scores(confusion_KK), float(confusion_KK.sum())
    if not every:
        return dict.fromkeys(("miou", "acc", "dice"), np.nan)
    return {
        "miou": float(np.nanmean(scores.iou)),
        "acc": float(np.diagonal(confusion_KK).sum() / every),
        "dice": float(np.nanmean(scores.dice)),
    }


def pixel_intervals(confusions_NKK: npt.NDArray[np.int64], groups_N: Ints | None) -> dict[str, Interval]:
    """95 % intervals of these metrics over images, from the confusion of each."""
    images, classes, _ = confusions_NKK.shape
    flat = confusions_NKK.reshape(images, classes**2).astype(np.float64)

    def measure(weights_N: Floats) -> dict[str, float]:
        return pixel_metrics((weights_N @ flat).reshape(classes, classes))

    return bootstrap(measure, images, groups_N)
