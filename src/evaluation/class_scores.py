"""Precision, recall, F1 and average precision of each class. N images, K classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
TINY = 1e-12  # instead of a count of 0, where there is nothing right either


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


class Ranking:
    """Images by their scores [N, K], best first, for each class on its own; equal scores are accepted together.

    One way for the metric, its interval, the table of the classes and the curves. torchmetrics counts the same, but
    without the weights that resampling needs, and of logits it makes float32 probabilities first: those above 17 all
    become 1, and what the network told apart is a tie.
    """

    def __init__(self, scores_NK: npt.NDArray[np.floating], labels_NK: npt.NDArray[np.bool_]) -> None:
        self.order_NK = np.argsort(-scores_NK, axis=0, kind="stable")
        sorted_NK = np.take_along_axis(scores_NK, self.order_NK, axis=0)
        self.labels_NK = np.take_along_axis(labels_NK, self.order_NK, axis=0)
        is_last_NK = np.ones(scores_NK.shape, dtype=np.bool_)
        is_last_NK[:-1] = sorted_NK[:-1] != sorted_NK[1:]
        place_NK = np.where(is_last_NK, np.arange(len(scores_NK))[:, None], len(scores_NK))
        self.last_NK = np.minimum.accumulate(place_NK[::-1], axis=0)[::-1]  # of the images with the same score

    def recall_precision(self, weights_N: Floats | None = None) -> tuple[Floats, Floats]:
        """Recall and precision [N, K] if an image and all that score at least as much are accepted; N > 0."""
        weights_NK = np.ones(self.order_NK.shape) if weights_N is None else weights_N[self.order_NK]
        hits_NK = np.take_along_axis(np.cumsum(weights_NK * self.labels_NK, axis=0), self.last_NK, axis=0)
        accepted_NK = np.take_along_axis(np.cumsum(weights_NK, axis=0), self.last_NK, axis=0)
        return hits_NK / np.maximum(hits_NK[-1:], 1e-12), hits_NK / np.maximum(accepted_NK, 1e-12)

    def average_precision(self, weights_N: Floats | None = None) -> Floats:
        """[K], 0..1, higher is better; 0 for classes that no image shows."""
        if not len(self.order_NK):
            return np.zeros(self.order_NK.shape[1])
        recall_NK, precision_NK = self.recall_precision(weights_N)
        average_K: Floats = (np.diff(recall_NK, prepend=0.0, axis=0) * precision_NK).sum(axis=0)
        return average_K
