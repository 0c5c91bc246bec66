"""Average precision: the area under precision over recall. N images, K classes.

One way for the metric, its interval, the table of the classes and the curves. torchmetrics counts the same, but without
the weights that resampling needs, and of logits it makes float32 probabilities first: those above 17 all become 1, and
what the network told apart is a tie.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Ranking:
    """Images by their scores [N, K], best first, for each class on its own; equal scores are accepted together."""

    def __init__(self, scores_NK: npt.NDArray[np.floating], labels_NK: Bools) -> None:
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
