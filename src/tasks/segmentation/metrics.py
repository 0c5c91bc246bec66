"""Metrics of pixels that have one class each: one confusion over all pixels of all images (src/evaluation/pixels)."""

import torch
from torch import Tensor
from torchmetrics import Metric

from src.evaluation.pixels.confusion import pixel_metrics

# torchmetrics' own MeanIoU averages over images, knows no void pixels, and counts absent classes.


class PixelMetrics(Metric):
    """All in 0..1, higher is better, over the pixels of all images together, void ones left out:

    - miou: intersection over union, the mean over the classes that are there.
    - acc: share of the pixels that are right.
    - dice: F1 of a class's pixels, the mean over the classes that are there.
    """

    names = ("miou", "acc", "dice")
    full_state_update = False
    confusion: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.add_state("confusion", torch.zeros(classes, classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pairs_BM2: Tensor) -> None:
        """With what occurs in each image, see src/evaluation/pixels/pairs.py."""
        codes, counts = pairs_BM2.long().flatten(end_dim=1).unbind(dim=1)
        self.confusion.view(-1).index_add_(0, codes, counts)

    def compute(self) -> dict[str, Tensor]:
        values = pixel_metrics(self.confusion.cpu().numpy())
        return {name: torch.tensor(values[name]) for name in self.names}
