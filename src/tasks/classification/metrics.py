"""Metrics of classification: how often the likeliest class is right."""

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy


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
    """F1 averaged over the classes that occur or are predicted, each counting the same; 0..1, higher is better.

    As torchmetrics' MulticlassF1Score, but for the matrix: of 20,000 classes it takes 3.2 GB in each batch.
    """

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
