"""Metrics of multilabel: how well each class is ranked, and what its threshold makes of it."""

from typing import Any, cast

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multilabel_f1_score
from torchmetrics.utilities import dim_zero_cat

from src.evaluation.average_precision import Ranking


class MultilabelOutputs(Metric):
    """Collects logits [N, K] and labels uint8 [N, K] of all batches and processes.

    torchmetrics' CatMetric would make float32 of the labels, and drop a batch without images, of which the other
    processes need to know that it has two axes.
    """

    full_state_update = False

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, logits_BK: Tensor, labels_BK: Tensor) -> None:
        cast(list[Tensor], self.logits).append(logits_BK)
        cast(list[Tensor], self.labels).append(labels_BK)

    def compute(self) -> tuple[Tensor, Tensor]:
        return dim_zero_cat(cast(Any, self.logits)), dim_zero_cat(cast(Any, self.labels))

    def take(self) -> tuple[Tensor, Tensor]:
        """What all processes have collected; collecting starts anew."""
        if not self.logits:  # none of this process's images could be read
            nothing_0K = torch.empty(0, self.num_classes, device=self.device)
            self.update(nothing_0K, nothing_0K.to(torch.uint8))
        logits_NK, labels_NK = self.compute()
        self.reset()
        return logits_NK, labels_NK


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


def multilabel_metrics(logits_NK: Tensor, labels_NK: Tensor, thresholds_K: Tensor) -> dict[str, Tensor]:
    """All in 0..1, higher is better; classes that no image of the split shows are left out.

    - map: average precision (area under precision over recall), averaged over the classes.
    - f1_macro: F1 at the thresholds (of probabilities), averaged over the classes.
    - f1_micro: F1 at the thresholds, of all decisions together.
    """
    decided = (torch.sigmoid(logits_NK) >= thresholds_K).int(), labels_NK.int(), len(thresholds_K)
    f1_K = multilabel_f1_score(*decided, average=None, validate_args=False)  # which would refuse a single class
    f1_micro = multilabel_f1_score(*decided, average="micro", validate_args=False)
    occurs_K = labels_NK.sum(dim=0) > 0
    if not occurs_K.any():
        nothing = torch.zeros((), device=logits_NK.device)
        return {"map": nothing, "f1_macro": nothing, "f1_micro": f1_micro}
    average_K = Ranking(logits_NK.cpu().numpy(), labels_NK.cpu().numpy() > 0).average_precision()
    precision_K = torch.from_numpy(average_K).float().to(logits_NK.device)
    return {"map": precision_K[occurs_K].mean(), "f1_macro": f1_K[occurs_K].mean(), "f1_micro": f1_micro}
