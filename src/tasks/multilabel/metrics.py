"""Metrics of multilabel: how well each class is ranked, and what its threshold makes of it."""

from typing import Any, cast

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from src.evaluation.class_scores import Ranking, class_scores


class CollectedLogits(Metric):
    """Collects logits [N, K] and labels 0 or 1, as uint8 [N, K], of all batches and processes.

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
        cast(list[Tensor], self.labels).append(labels_BK.to(torch.uint8))

    def compute(self) -> tuple[Tensor, Tensor]:
        return dim_zero_cat(cast(Any, self.logits)), dim_zero_cat(cast(Any, self.labels))

    def take(self) -> tuple[Tensor, Tensor]:
        """What all processes have collected; collecting starts anew."""
        if not self.logits:  # none of this process's images could be read
            nothing_0K = torch.empty(0, self.num_classes, device=self.device)
            self.update(nothing_0K, nothing_0K)
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

    torchmetrics' MultilabelF1Score raises an error if there is no image, or a single class.

    - map: average precision (area under precision over recall), averaged over the classes.
    - f1_macro: F1 at the thresholds (of probabilities), averaged over the classes.
    - f1_micro: F1 at the thresholds, of all decisions together.
    """
    scores, there, shown = (
        x.cpu().numpy() for x in (logits_NK, labels_NK > 0, torch.sigmoid(logits_NK) >= thresholds_K)
    )
    right_K, true_K, shown_K = (x.sum(axis=0) for x in (there & shown, there, shown))
    occurs_K = true_K > 0
    f1_K = class_scores(right_K, true_K, shown_K).f1
    means = {"map": Ranking(scores, there).average_precision(), "f1_macro": f1_K}
    values = {name: values_K[occurs_K].mean() if occurs_K.any() else 0.0 for name, values_K in means.items()}
    values["f1_micro"] = 2 * right_K.sum() / max((true_K + shown_K).sum(), 1)
    return {name: torch.tensor(float(value), device=thresholds_K.device) for name, value in values.items()}
