"""The metrics that are reported, by name."""

from typing import Any, cast

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat


class ClassCounts(Metric):
    """Counts the images of each class int64 [K]: those answered rightly, those that show it, those answered with it.

    torchmetrics' own counts by class go through a matrix [K, K] in every batch.
    """

    full_state_update = False
    right_K: Tensor
    true_K: Tensor
    predicted_K: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        for name in ("right_K", "true_K", "predicted_K"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, outputs_BK: Tensor, labels_B: Tensor) -> None:
        predicted_B = outputs_BK.argmax(dim=1)
        ones_B = torch.ones_like(labels_B)
        self.true_K.index_add_(0, labels_B, ones_B)
        self.predicted_K.index_add_(0, predicted_B, ones_B)
        self.right_K.index_add_(0, labels_B, (predicted_B == labels_B).to(torch.int64))


class BalancedAccuracy(ClassCounts):
    """Recall averaged over the classes that occur, each counting the same; 0..1, higher is better.

    torchmetrics' macro average counts a class without an image as a recall of 0 as soon as it is predicted once.
    """

    def compute(self) -> Tensor:
        occurs_K = self.true_K > 0
        return (self.right_K[occurs_K] / self.true_K[occurs_K]).mean()


class MacroF1(ClassCounts):
    """F1 averaged over the classes that occur or are predicted, each counting the same; 0..1, higher is better."""

    def compute(self) -> Tensor:
        both_K = self.true_K + self.predicted_K
        return (2 * self.right_K[both_K > 0] / both_K[both_K > 0]).mean()


def classification_metrics(num_classes: int, prefix: str) -> MetricCollection:
    """Scalar metrics over logits [B, K] and class indices [B]; all in 0..1, higher is better.

    - acc: share of right answers.
    - balanced_acc: recall averaged over the classes that occur, each counting the same.
    - f1: F1 averaged over the classes, each counting the same.
    - acc_top5: share of images whose class is among the five likeliest (with more than five classes).
    """
    metrics = {
        "acc": MulticlassAccuracy(num_classes, average="micro"),
        "balanced_acc": BalancedAccuracy(num_classes),
        "f1": MacroF1(num_classes),
    }
    if num_classes > 5:
        metrics["acc_top5"] = MulticlassAccuracy(num_classes, average="micro", top_k=5)
    # No compute groups: torchmetrics merges metrics whose states happen to be equal after the first batch, e.g. acc
    # and acc_top5 after a batch without a mistake, and reports wrong values from then on.
    return MetricCollection(dict(metrics), prefix=prefix, compute_groups=False)


# ---------------------------------------------------------------------------------------------------------- multilabel


class MultilabelScores(Metric):
    """Collects probabilities [N, K] and labels uint8 [N, K] of all batches and processes."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, scores_BK: Tensor, labels_BK: Tensor) -> None:
        cast(list[Tensor], self.scores).append(scores_BK)
        cast(list[Tensor], self.labels).append(labels_BK)

    def compute(self) -> tuple[Tensor, Tensor]:
        return dim_zero_cat(cast(Any, self.scores)), dim_zero_cat(cast(Any, self.labels))


def best_thresholds(scores_NK: Tensor, labels_NK: Tensor) -> Tensor:
    """For each class the threshold with the best F1, [K] in 0..1; 0.5 for classes that no image shows.

    A threshold lies halfway between the lowest score that it accepts and the highest that it refuses.
    """
    thresholds_K = torch.full((scores_NK.shape[1],), 0.5, device=scores_NK.device)
    for k in range(scores_NK.shape[1]):
        scores_N, order_N = scores_NK[:, k].sort(descending=True)
        hits_N = labels_NK[order_N, k].long().cumsum(dim=0)
        if not len(hits_N) or not hits_N[-1]:
            continue
        accepted_N = torch.arange(1, len(scores_N) + 1, device=scores_N.device)
        f1_N = 2 * hits_N / (accepted_N + hits_N[-1])
        following_N = torch.cat([scores_N[1:], scores_N.new_zeros(1)])
        f1_N[scores_N == following_N] = -1  # equal scores are accepted together
        best = int(f1_N.argmax())
        thresholds_K[k] = (scores_N[best] + following_N[best]) / 2
    return thresholds_K


def multilabel_metrics(scores_NK: Tensor, labels_NK: Tensor, thresholds_K: Tensor) -> dict[str, Tensor]:
    """All in 0..1, higher is better; classes that no image of the split shows are left out.

    - map: average precision (area under precision over recall), averaged over the classes.
    - f1_macro: F1 at the thresholds, averaged over the classes.
    - f1_micro: F1 at the thresholds, of all decisions together.
    """
    occurs_K = labels_NK.sum(dim=0) > 0
    predicted_NK = scores_NK >= thresholds_K
    right_K = (predicted_NK & (labels_NK > 0)).sum(dim=0).float()
    both_K = (predicted_NK.sum(dim=0) + labels_NK.sum(dim=0)).float()
    precisions = [
        binary_average_precision(scores_NK[:, k], labels_NK[:, k].long()) for k in torch.nonzero(occurs_K).flatten()
    ]
    nothing = torch.tensor(0.0, device=scores_NK.device)
    return {
        "map": torch.stack(precisions).mean() if precisions else nothing,
        "f1_macro": (2 * right_K / both_K)[occurs_K].mean() if precisions else nothing,
        "f1_micro": 2 * right_K.sum() / both_K.sum().clamp(min=1),
    }


# ---------------------------------------------------------------------------------------------------------- regression


class RegressionErrors(Metric):
    """Of each target [T]: mae (mean absolute error), rmse (root of the mean squared error), both lower is better; r2
    (share of the variance that is explained; at most 1, 0 for guessing the mean; 0 if there is none).

    Takes standardised values and labels [B, T]: sums of squares of others would be inexact in float32.
    """

    full_state_update = False
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
        errors_BT = values_BT - labels_BT
        self.count += len(labels_BT)
        self.absolute_T += errors_BT.abs().sum(dim=0)
        self.squared_T += errors_BT.square().sum(dim=0)
        self.label_sum_T += labels_BT.sum(dim=0)
        self.label_squares_T += labels_BT.square().sum(dim=0)

    def compute(self) -> dict[str, Tensor]:
        variation_T = self.label_squares_T - self.label_sum_T.square() / self.count
        explained_T = 1 - self.squared_T / variation_T
        return {
            "mae": self.absolute_T / self.count,
            "rmse": (self.squared_T / self.count).sqrt(),
            # Of equal labels rounding leaves some variation, too.
            "r2": torch.where(variation_T > 1e-6 * self.label_squares_T, explained_T, 0.0),
        }
