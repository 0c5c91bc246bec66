"""Precision, recall and F1 of each class, from counts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassScores:
    """Of each class [K], 0..1, higher is better: precision, recall, F1; and how many images show it."""

    precision: Floats
    recall: Floats
    f1: Floats
    images: npt.NDArray[Any]

    def texts(self, k: int) -> list[str]:
        """Precision, recall and F1 of class `k`, as tables show them."""
        return [f"{values[k]:.4f}" for values in (self.precision, self.recall, self.f1)]


def class_scores(right_K: npt.NDArray[Any], true_K: npt.NDArray[Any], predicted_K: npt.NDArray[Any]) -> ClassScores:
    """From how often each class was answered rightly, how often it is there, how often it was answered.

    Counts may be weighted. What has no image to be measured on is 0.
    """
    return ClassScores(
        precision=right_K / np.maximum(predicted_K, TINY),
        recall=right_K / np.maximum(true_K, TINY),
        f1=2 * right_K / np.maximum(true_K + predicted_K, TINY),
        images=true_K,
    )


TINY = 1e-12  # instead of a count of 0, where there is nothing right either
