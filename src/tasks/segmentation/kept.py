"""What a segmenter keeps of each image, put together for a whole split.

Shapes: K classes, M pixels.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from src.evaluation.confusion import ConfusionCounts
from src.evaluation.evidence import Evidence
from src.evaluation.pixels.confusion import VOID, PixelSums
from src.evaluation.pixels.pairs import confusion_of_images, sums_of_images


def known_pixels(evidence: Evidence) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Logits float32 [M, K] and classes int64 [M] of those pixels that were kept and are not void."""
    truth = evidence.arrays["truth"].reshape(-1)
    logits = evidence.arrays["logits"].reshape(len(truth), -1)
    known = truth != VOID
    return logits[known].astype(np.float32), truth[known].astype(np.int64)


def image_sums(evidence: Evidence) -> PixelSums:
    """Of each image, int64 [N, K]."""
    if "sums" not in evidence.memo:
        evidence.memo["sums"] = sums_of_images(evidence.arrays["pairs"], evidence.arrays["logits"].shape[2])
    found: PixelSums = evidence.memo["sums"]
    return found


def confusion_counts(evidence: Evidence) -> ConfusionCounts:
    """Pixels by true class and found class."""
    matrix_KK = confusion_of_images(evidence.arrays["pairs"], evidence.arrays["logits"].shape[2])
    true_P, found_P = np.nonzero(matrix_KK)
    return ConfusionCounts(len(matrix_KK), true_P, found_P, matrix_KK[true_P, found_P])
