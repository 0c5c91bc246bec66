"""Pixels of each class that were taken for each class, and the metrics that follow from them.

Shapes: N images, K classes. A confusion has rows for the true class and columns for the one that was found.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from src.evaluation.intervals import Floats, Interval, Ints, bootstrap

VOID = 255  # the class id of pixels of which nobody says what they show
Counts = npt.NDArray[Any]  # pixels, whole numbers, or weighted ones


@dataclass(frozen=True)
class ClassScores:
    """Of each class, float64 [K]: intersection over union, Dice (F1 of its pixels), recall and precision, 0..1, higher
    is better. All are NaN for classes that no true pixel has.
    """

    iou: Floats
    dice: Floats
    recall: Floats
    precision: Floats


@dataclass(frozen=True)
class PixelSums:
    """Pixels of each class that are right, of this class in truth, and found as it, [K] or [N, K]. Scores need no more
    of a confusion, and of 5,000 images with 200 classes these take a hundredth of the memory.
    """

    right: Counts
    true: Counts
    found: Counts

    @classmethod
    def of(cls, confusion: Counts) -> "PixelSums":
        """Of one [K, K], or of each image [N, K, K]."""
        right = np.diagonal(confusion, axis1=-2, axis2=-1)
        return cls(right, confusion.sum(axis=-1, dtype=np.int64), confusion.sum(axis=-2, dtype=np.int64))

    def together(self) -> "PixelSums":
        """Of all images, [K]."""
        return PixelSums(*(counts_NK.sum(axis=0) for counts_NK in (self.right, self.true, self.found)))

    def scores(self) -> ClassScores:
        there = self.true > 0

        def share(parts: Counts, wholes: Counts) -> Floats:
            return np.where(there, parts / np.maximum(wholes, 1e-12), np.nan)

        return ClassScores(
            iou=share(self.right, self.true + self.found - self.right),
            dice=share(2 * self.right, self.true + self.found),
            recall=share(self.right, self.true),
            precision=share(self.right, self.found),
        )


def class_scores(confusion_KK: Counts) -> ClassScores:
    return PixelSums.of(confusion_KK).scores()


def pixel_metrics(confusion_KK: Counts) -> dict[str, float]:
    """`miou`, `dice`: means over the classes that are there, so that a class that no image shows counts for nothing;
    where it is found by mistake, the class that is there loses. `acc`: share of the pixels that are right. Void pixels
    were not counted. NaN of no pixels.
    """
    return mean_metrics(PixelSums.of(confusion_KK))


def mean_metrics(sums: PixelSums) -> dict[str, float]:
    if not (every := float(sums.true.sum())):
        return dict.fromkeys(("miou", "acc", "dice"), np.nan)
    scores = sums.scores()
    return {
        "miou": float(np.nanmean(scores.iou)),
        "acc": float(sums.right.sum() / every),
        "dice": float(np.nanmean(scores.dice)),
    }


def image_metrics(sums: PixelSums) -> tuple[Floats, Floats]:
    """miou and acc of each image alone, [N]; NaN of an image without a pixel that counts."""
    true_N, there_N = sums.true.sum(axis=1), (sums.true > 0).sum(axis=1)
    iou_NK = np.nan_to_num(sums.scores().iou)
    miou_N = np.where(there_N > 0, iou_NK.sum(axis=1) / np.maximum(there_N, 1), np.nan)
    return miou_N, np.where(true_N > 0, sums.right.sum(axis=1) / np.maximum(true_N, 1), np.nan)


def pixel_intervals(sums: PixelSums, class_names: list[str], groups_N: Ints | None) -> dict[str, Interval]:
    """95 % intervals over images of these metrics, and of the IoU of each class that is there as `iou/<name>`.

    `sums`: of each image.
    """
    columns = [np.asarray(counts_NK, dtype=np.float64) for counts_NK in (sums.right, sums.true, sums.found)]
    there = np.flatnonzero(sums.true.sum(axis=0)).tolist()

    def measure(weights_N: Floats) -> dict[str, float]:
        drawn = PixelSums(*(weights_N @ counts_NK for counts_NK in columns))
        iou_K = drawn.scores().iou
        return mean_metrics(drawn) | {f"iou/{class_names[k]}": float(iou_K[k]) for k in there}

    return bootstrap(measure, len(sums.true), groups_N)
