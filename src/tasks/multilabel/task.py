"""Any number of classes per image."""

import torch
from torch import Tensor

from src.tasks.multilabel.export import MultilabelOutputs
from src.tasks.multilabel.prediction import MultilabelPrediction
from src.training.metrics import MultilabelScores, best_thresholds, multilabel_metrics
from src.training.scores_task import ScoresTask


class MultilabelTask(ScoresTask):
    """Logs for val and test every metric of `multilabel_metrics`. Settings: see ScoresTask.

    Outputs are logits; labels are uint8 [B, K], 1 for each class that the image shows. A class counts as predicted
    from its threshold on: `thresholds_K`, probabilities before calibration, chosen in each validation for the best F1
    of the class and kept in the checkpoint. F1 on val is measured with thresholds chosen there and therefore somewhat
    too good; test's is not.
    """

    prediction = MultilabelPrediction
    thresholds_K: Tensor

    def configure_metrics(self) -> None:
        self.register_buffer("thresholds_K", torch.full((len(self.class_names),), 0.5))
        self.val_scores, self.test_scores = MultilabelScores(), MultilabelScores()

    @property
    def metric_names(self) -> list[str]:
        return [f"val/{name}" for name in ("loss", "map", "f1_macro", "f1_micro")]

    def to_targets(self, labels: Tensor) -> Tensor:
        return labels.float()

    def update_metrics(self, split: str, outputs_BK: Tensor, labels: Tensor) -> None:
        getattr(self, f"{split}_scores").update(torch.sigmoid(outputs_BK.float()), labels)

    def compute_metrics(self, split: str) -> dict[str, Tensor]:
        collected = getattr(self, f"{split}_scores")
        if not collected.scores:  # none of this process's images could be read; the others gather two axes
            nothing_0K = self.thresholds_K.new_empty(0, len(self.class_names))
            collected.update(nothing_0K, nothing_0K.to(torch.uint8))
        scores_NK, labels_NK = collected.compute()
        collected.reset()
        if split == "val" and not self.trainer.sanity_checking:
            self.thresholds_K.copy_(best_thresholds(scores_NK, labels_NK))
        values = multilabel_metrics(scores_NK, labels_NK, self.thresholds_K)
        return {f"{split}/{name}": value for name, value in values.items()}

    def output_layer(self) -> MultilabelOutputs:
        return MultilabelOutputs(self.class_names, self.temperature, self.thresholds_K)
