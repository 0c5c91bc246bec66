"""Metrics of regression: how far the numbers are from the labels."""

import torch
from torch import Tensor
from torchmetrics import Metric

OF_LABELS = ("mae", "rmse")  # metrics in the unit of the labels; the others have none


class RegressionMetrics(Metric):
    """Of each target [T], from standardised values and labels [B, T]: sums of squares of others would be inexact in
    float32.

    - mae: mean absolute error, lower is better.
    - rmse: root of the mean squared error, lower is better.
    - r2: share of the variance that is explained; at most 1, 0 for guessing the mean, or without any variance; higher
      is better. torchmetrics' R2Score takes what rounding leaves of equal labels for variance, from some ten thousand
      images on (-1259 for 96,000 labels of 1/3), and raises an error for a single image.
    """

    full_state_update = False
    names = ("mae", "rmse", "r2")
    count: Tensor
    absolute_T: Tensor
    squared_T: Tensor
    label_sum_T: Tensor
    label_squares_T: Tensor

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")
        for name in ("absolute_T", "squared_T", "label_sum_T", "label_squares_T"):
            self.add_state(name, torch.zeros(targets), dist_reduce_fx="sum")

    def update(self, values_BT: Tensor, labels_BT: Tensor) -> None:
        self.count += len(labels_BT)
        self.absolute_T += (values_BT - labels_BT).abs().sum(dim=0)
        self.squared_T += (values_BT - labels_BT).square().sum(dim=0)
        self.label_sum_T += labels_BT.sum(dim=0)
        self.label_squares_T += labels_BT.square().sum(dim=0)

    def compute(self) -> dict[str, Tensor]:
        variation_T = self.label_squares_T - self.label_sum_T.square() / self.count
        # Of equal labels rounding leaves some variation, too.
        varies_T = variation_T > 1e-6 * self.label_squares_T
        r2_T = torch.where(varies_T, 1 - self.squared_T / variation_T, 0.0)
        return {"mae": self.absolute_T / self.count, "rmse": (self.squared_T / self.count).sqrt(), "r2": r2_T}
