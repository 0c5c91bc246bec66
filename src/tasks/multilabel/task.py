"""Any number of classes per image."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from src.tasks.multilabel.metrics import MultilabelOutputs, best_thresholds, multilabel_metrics
from src.training.calibrated import CalibratedTask


class MultilabelTask(CalibratedTask):
    """Logs for val and test every metric of `multilabel_metrics`. Settings: see FineTuneTask.

    Outputs are logits; labels are uint8 [B, K], 1 for each class that the image shows. A class counts as predicted
    from its threshold on: `thresholds_K`, probabilities before calibration, chosen in each validation for the best F1
    of the class and kept in the checkpoint. F1 on val is measured with thresholds chosen there and therefore somewhat
    too good; test's is not.
    """

    answer_columns: ClassVar = ["prediction"]
    thresholds_K: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        num_classes = len(self.class_names)
        self.register_buffer("thresholds_K", torch.full((num_classes,), 0.5))
        self.val_outputs, self.test_outputs = MultilabelOutputs(num_classes), MultilabelOutputs(num_classes)

    @property
    def metric_names(self) -> list[str]:
        return [f"val/{name}" for name in ("loss", "map", "f1_macro", "f1_micro")]

    def to_targets(self, labels: Tensor) -> Tensor:
        return labels.float()

    def update_metrics(self, split: str, outputs_BK: Tensor, labels: Tensor) -> None:
        getattr(self, f"{split}_outputs").update(outputs_BK.float(), labels)

    def compute_metrics(self, split: str) -> dict[str, Tensor]:
        logits_NK, labels_NK = getattr(self, f"{split}_outputs").take()
        if split == "val" and not self.trainer.sanity_checking:
            self.thresholds_K.copy_(best_thresholds(torch.sigmoid(logits_NK), labels_NK))
        values = multilabel_metrics(logits_NK, labels_NK, self.thresholds_K)
        return {f"{split}/{name}": value for name, value in values.items()}

    def probabilities(self, outputs_BK: Tensor) -> Tensor:
        return torch.sigmoid(outputs_BK.float() / self.temperature)

    def calibrated_thresholds(self) -> Tensor:
        """[K]: what calibrated probabilities are compared with, for the same answers."""
        return torch.sigmoid(torch.logit(self.thresholds_K) / self.temperature)

    def ood_scores(self, outputs_BK: Tensor) -> Tensor:
        """Joint energy of the logits (Wang et al. 2021, arXiv 2111.14767)."""
        return -nn.functional.softplus(outputs_BK.float()).sum(dim=1)

    def answers(self, outputs_BK: Tensor) -> list[list[str]]:
        """The classes that reach their thresholds, with ; between them."""
        shown_BK = (torch.sigmoid(outputs_BK.float()) >= self.thresholds_K).tolist()
        return [[";".join(name for name, on in zip(self.class_names, row, strict=True) if on)] for row in shown_BK]
