"""Metrics of classification: how often the likeliest class is right."""

import torch
from torch import Tensor
from torchmetrics import Metric


class ClassificationMetrics(Metric):
    """Of logits [B, K] and class indices [B], by name; all in 0..1, higher is better.

    - acc: share of right answers.
    - balanced_acc: recall averaged over the classes that occur, each counting the same. torchmetrics' macro average
      counts a class without an image as a recall of 0 as soon as it is predicted once.
    - f1: F1 averaged over the classes that occur or are predicted, each counting the same. As torchmetrics'
      MulticlassF1Score, but for the matrix [K, K]: of 20,000 classes it takes 3.2 GB in each batch.
    - acc_top5: share of images whose class is among the five likeliest (with more than five classes).

    Counted are images int64: by class [K] those answered rightly, those that show it and those answered with it.
    """

    full_state_update = False
    right_K: Tensor
    true_K: Tensor
    predicted_K: Tensor
    right_top5: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.names = ["acc", "balanced_acc", "f1", "acc_top5"][: 4 if num_classes > 5 else 3]
        for name in ("right_K", "true_K", "predicted_K"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("right_top5", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, outputs_BK: Tensor, labels_B: Tensor) -> None:
        predicted_B = outputs_BK.argmax(dim=1)
        ones_B = torch.ones_like(labels_B)
        self.true_K.index_add_(0, labels_B, ones_B)
        self.predicted_K.index_add_(0, predicted_B, ones_B)
        self.right_K.index_add_(0, labels_B, (predicted_B == labels_B).to(torch.int64))
        likeliest_B5 = outputs_BK.topk(min(5, outputs_BK.shape[1]), dim=1).indices
        self.right_top5 += (likeliest_B5 == labels_B[:, None]).sum()

    def compute(self) -> dict[str, Tensor]:
        images, occurs_K, both_K = self.true_K.sum(), self.true_K > 0, self.true_K + self.predicted_K
        values = {
            "acc": self.right_K.sum() / images,
            "balanced_acc": (self.right_K[occurs_K] / self.true_K[occurs_K]).mean(),
            "f1": (2 * self.right_K[both_K > 0] / both_K[both_K > 0]).mean(),
            "acc_top5": self.right_top5 / images,
        }
        return {name: values[name] for name in self.names}
