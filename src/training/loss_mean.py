"""The mean of a training loss over the images of an epoch."""

import torch
from torch import Tensor
from torchmetrics import Metric


class LossMean(Metric):
    """Of finite losses, each weighted by its images.

    torchmetrics' MeanMetric with its states, but that one looks for NaN at each update and copies the weight to the
    device: a GPU that has to answer stands still until the next step is queued.
    """

    full_state_update = False
    mean_value: Tensor  # sum of weighted losses, as MeanMetric calls it
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("mean_value", "weight"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, loss: Tensor, images: int) -> None:
        self.mean_value += loss.float() * images
        self.weight += images

    def compute(self) -> Tensor:
        return self.mean_value / self.weight
