"""The metrics that are reported, by name."""

from typing import cast

from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score


class BalancedAccuracy(MulticlassAccuracy):
    """Recall averaged over the classes that occur, each counting the same.

    torchmetrics' macro average counts a class without a picture as a recall of 0 as soon as it is predicted once.
    """

    def compute(self) -> Tensor:
        right_K, wrong_K = cast(Tensor, self.tp), cast(Tensor, self.fn)
        occurs_K = right_K + wrong_K > 0
        return (right_K[occurs_K] / (right_K + wrong_K)[occurs_K]).mean()


def classification_metrics(num_classes: int, prefix: str) -> MetricCollection:
    """Scalar metrics over logits [B, K] and class indices [B]; all in 0..1, higher is better.

    - acc: share of right answers.
    - balanced_acc: recall averaged over the classes that occur, each counting the same.
    - f1: F1 averaged over the classes, each counting the same.
    - acc_top5: share of pictures whose class is among the five likeliest (with more than five classes).
    """
    metrics = {
        "acc": MulticlassAccuracy(num_classes, average="micro"),
        "balanced_acc": BalancedAccuracy(num_classes, average="none"),
        "f1": MulticlassF1Score(num_classes, average="macro"),
    }
    if num_classes > 5:
        metrics["acc_top5"] = MulticlassAccuracy(num_classes, average="micro", top_k=5)
    # No compute groups: torchmetrics merges metrics whose states happen to be equal after the first batch, e.g. acc
    # and acc_top5 after a batch without a mistake, and reports wrong values from then on.
    return MetricCollection(dict(metrics), prefix=prefix, compute_groups=False)


def confusion_matrix(num_classes: int) -> MulticlassConfusionMatrix:
    """Counts int64 [K, K]: true class by row, predicted class by column."""
    return MulticlassConfusionMatrix(num_classes)
