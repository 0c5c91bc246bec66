"""One class per image."""

from PIL import Image
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from src.data.table import ImageTable
from src.evaluation.confusion import count_confusions
from src.evaluation.evidence import Evidence
from src.reports.confusion_matrix import draw_confusions
from src.tasks.classification.combination import ClassificationCombination
from src.tasks.classification.export import ClassificationOutputs
from src.tasks.classification.metrics import ClassificationMetrics
from src.tasks.classification.prediction import ClassificationPrediction
from src.training.scores_task import CalibratedTask


class ClassificationTask(CalibratedTask):
    """Logs `train/acc`, and for val and test every metric of `ClassificationMetrics`. Settings: see ScoresTask.

    Outputs are logits; labels are class indices int64 [B].
    """

    prediction = ClassificationPrediction
    combination = ClassificationCombination
    one_class = True
    val_metrics: ClassificationMetrics

    def configure_metrics(self) -> None:
        super().configure_metrics()
        num_classes = len(self.class_names)
        # Unchecked, since a GPU would have to wait for the answer.
        self.train_acc = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        self.val_metrics, self.test_metrics = ClassificationMetrics(num_classes), ClassificationMetrics(num_classes)

    @property
    def metric_names(self) -> list[str]:
        return [f"val/{name}" for name in ("loss", *self.val_metrics.names)]

    def count_training(self) -> None:
        """Of a mixed image, the class with the larger share counts."""
        outputs_BK, targets = self.seen
        labels_B = targets if self.mixing is None else targets.argmax(dim=1)
        self.train_acc.update(outputs_BK, labels_B)

    def compute_metrics(self, split: str) -> dict[str, Tensor]:
        metrics = getattr(self, f"{split}_metrics")
        values = {f"{split}/{name}": value for name, value in metrics.compute().items()}
        metrics.reset()
        return values

    def figures(self, table: ImageTable, evidence: Evidence) -> dict[str, Image.Image]:
        """The confusion matrix."""
        confusions = count_confusions(evidence.arrays["outputs"].argmax(axis=1), evidence.labels, len(self.class_names))
        return {f"{evidence.split}/confusion": draw_confusions(confusions, self.class_names)}

    def output_layer(self) -> ClassificationOutputs:
        return ClassificationOutputs(self.class_names, self.temperature)
