"""What a segmenter keeps of each image, put together for a whole split.

Shapes: K classes, M pixels.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from src.evaluation.confusion import ConfusionCounts
from src.evaluation.evidence import Evidence
from src.evaluation.pixels.confusion import VOID


def known_pixels(evidence: Evidence) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Logits float32 [M, K] and classes int64 [M] of those pixels that were kept and are not void."""
    truth = evidence.arrays["truth"].reshape(-1)
    logits = evidence.arrays["logits"].reshape(len(truth), -1)
    known = truth != VOID
    return logits[known].astype(np.float32), truth[known].astype(np.int64)


def confusion_of_split(evidence: Evidence) -> npt.NDArray[np.int64]:
    """Pixels by true class (rows) and found class, [K, K]."""
    return np.asarray(evidence.arrays["confusion"].sum(axis=0, dtype=np.int64))


def confusion_counts(evidence: Evidence) -> ConfusionCounts:
    """The same, of the pairs that occur."""
    matrix_KK = confusion_of_split(evidence)
    true_P, found_P = np.nonzero(matrix_KK)
    return ConfusionCounts(len(matrix_KK), true_P, found_P, matrix_KK[true_P, found_P])
