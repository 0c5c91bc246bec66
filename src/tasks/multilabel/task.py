"""Any number of classes per image."""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from src.evaluation.evidence import Evidence
from src.tasks.multilabel.combination import MultilabelCombination
from src.tasks.multilabel.export import MultilabelOutputs
from src.tasks.multilabel.metrics import CollectedLogits, best_thresholds, multilabel_metrics
from src.tasks.multilabel.prediction import MultilabelPrediction
from src.training.output_layer import OutputLayer
from src.training.scores_task import CalibratedTask


class MultilabelTask(CalibratedTask):
    """Logs for val and test every metric of `multilabel_metrics`. Settings: see ScoresTask.

    Outputs are logits; labels are uint8 [B, K], 1 for each class that the image shows. A class counts as predicted
    from its threshold on: `thresholds_K`, probabilities before calibration, chosen in each validation for the best F1
    of the class and kept in the checkpoint. F1 on val is measured with thresholds chosen there and therefore somewhat
    too good; test's is not.
    """

    prediction = MultilabelPrediction
    combination = MultilabelCombination
    one_class = False
    thresholds_K: Tensor

    def configure_metrics(self) -> None:
        super().configure_metrics()
        num_classes = len(self.class_names)
        self.register_buffer("thresholds_K", torch.full((num_classes,), 0.5))
        self.val_metrics, self.test_metrics = CollectedLogits(num_classes), CollectedLogits(num_classes)

    @property
    def metric_names(self) -> list[str]:
        one_1K = torch.zeros_like(self.thresholds_K)[None]
        return [f"val/{name}" for name in ("loss", *multilabel_metrics(one_1K, one_1K, self.thresholds_K))]

    def to_targets(self, labels: Tensor) -> Tensor:
        return labels.float()

    def compute_metrics(self, split: str) -> dict[str, Tensor]:
        logits_NK, labels_NK = getattr(self, f"{split}_metrics").take()
        if split == "val" and not self.trainer.sanity_checking:
            self.thresholds_K.copy_(best_thresholds(torch.sigmoid(logits_NK), labels_NK))
        values = multilabel_metrics(logits_NK, labels_NK, self.thresholds_K)
        return {f"{split}/{name}": value for name, value in values.items()}

    def calibrate_anew(self, val: Evidence) -> dict[str, float]:
        """With thresholds for the best F1 on these."""
        shares_NK = torch.sigmoid(torch.from_numpy(val.arrays["outputs"]))
        self.thresholds_K.copy_(best_thresholds(shares_NK, torch.from_numpy(val.labels)))
        return self.calibrate(val)

    def take_thresholds(self, layers: Sequence[OutputLayer]) -> None:
        """By the names of the classes."""
        found = [dict(zip(layer.class_names, layer.thresholds or [], strict=True)) for layer in layers]
        means = [fmean(one[name] for one in found) for name in self.class_names]
        self.thresholds_K.copy_(torch.tensor(means))

    def output_layer(self) -> MultilabelOutputs:
        return MultilabelOutputs(self.class_names, self.temperature, self.thresholds_K)
