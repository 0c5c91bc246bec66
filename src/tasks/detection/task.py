"""Boxes around objects, with a class and a score each.

Shapes: B images, D rows for the boxes that are found in one, N images of a split, K classes.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics import MeanMetric

from src.data.boxes import Boxes
from src.data.dataset import Batch
from src.data.table import ImageTable
from src.data.targets import Targets
from src.evaluation.boxes.average_precision import box_metrics
from src.evaluation.boxes.calibration import detection_calibration_error
from src.evaluation.boxes.matching import match
from src.evaluation.boxes.precision_recall import best_thresholds, mean_scores
from src.evaluation.boxes.zero_reasons import why_zero
from src.evaluation.evidence import Evidence
from src.evaluation.prediction import Outputs, Prediction
from src.models.by_shape import loss_and_outputs_by_shape
from src.models.combined_detector import CombinedDetector
from src.models.detector import DetectorNetwork
from src.runs.record import RunRecord
from src.tasks.detection.agreement import compare
from src.tasks.detection.answers import (
    BoxAnswers,
    calibrated_layer,
    calibration_of_means,
    fitted_calibration,
    match_evidence,
    true_boxes,
)
from src.tasks.detection.combination import DetectionCombination
from src.tasks.detection.drawn import draw_batch, draw_confusion, draw_some
from src.tasks.detection.export import DetectionOutputs
from src.tasks.detection.exported import ExportedDetector, limits_of
from src.tasks.detection.metrics import BoxMetrics
from src.tasks.detection.network import loss_names, network_facts, network_for_boxes
from src.tasks.detection.prediction import DetectionPrediction
from src.tasks.detection.tiles import in_pixels, merged_tiles
from src.tasks.detection.zero_ap import is_zero, require_measurable, warn_of_zeros
from src.training.combination import Combination
from src.training.exported_model import ExportedModel
from src.training.loss_mean import LossMean
from src.training.output_layer import OutputLayer
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)


class DetectionTask(FineTuneTask):
    """Logs every loss of the network as `train/<name>`; for val and test `loss`, their sum, and those of BoxMetrics.

    Keeps of each image `detections` float32 [D, 6]: as the network's outputs, with boxes in pixels of the file's
    upright image. Scores are calibrated, and thresholds chosen, on val at the end of a run.
    """

    prediction: ClassVar[type[DetectionPrediction]] = DetectionPrediction
    network_kind: ClassVar[type[DetectorNetwork]] = DetectorNetwork
    main_metric: ClassVar[str] = "ap"
    exported_model: ClassVar[type[ExportedModel]] = ExportedDetector
    combination: ClassVar[type[Combination] | None] = DetectionCombination
    combined_network = CombinedDetector
    model: DetectorNetwork
    fitted: dict[str, float] | None = None  # at the end of a run; before that the checkpoint's holds
    told_zero = False  # why AP was 0 after an epoch

    @classmethod
    def network_for(cls, targets: Targets, record: RunRecord) -> dict[str, Any]:
        assert isinstance(targets, Boxes)
        return network_for_boxes(targets, record)

    @classmethod
    def adapt(cls, net: nn.Module, record: RunRecord, head: Callable[..., Any], channels_last: bool) -> DetectorNetwork:
        chosen = {name: value for name, value in record.network.items() if name == "finest_stride"}
        chosen |= record.usual_norms
        detector = head(net, record.backbone_name, record.preprocessing.crop_px, len(record.class_names), **chosen)
        return cls.network_kind(detector, record.preprocessing, channels_last, record.network["max_detections"])

    @property
    def facts(self) -> list[str]:
        return network_facts(self.record.network)

    def require_measurable(self, labels: Boxes) -> None:
        require_measurable(self.monitor, labels)

    def configure_metrics(self) -> None:
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_boxes, self.test_boxes = (BoxMetrics(len(self.class_names)) for _ in range(2))
        self.batch_loss = torch.zeros(())
        for name in loss_names(self.model.net):
            setattr(self, f"train_{name}", LossMean())

    @property
    def metric_names(self) -> list[str]:
        return ["val/loss", *(f"val/{name}" for name in BoxMetrics.names)]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        parts = self.model.losses(batch["image"], batch["label"])
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def outputs(self, batch: Batch) -> Tensor:
        """[B, D, 6], with boxes in pixels of the files; the losses of the batch are computed beside.

        A score that is no number makes no box, so it is the losses that tell of one: of these images all is NaN.
        """
        self.batch_loss, outputs_BD6 = loss_and_outputs_by_shape(self.model, batch["image"], batch["label"])
        if not self.batch_loss.isfinite():
            outputs_BD6[self.suspects(batch)] = torch.nan
        return in_pixels(outputs_BD6, torch.stack([target["size_wh"] for target in batch["label"]]))

    def suspects(self, batch: Batch) -> Tensor:
        """Those whose own losses are not finite, in inference mode: a batch has one loss for all."""
        training = self.training
        finite_B = self.eval().model.finite_images(batch["image"], batch["label"])
        self.train(training)
        return ~finite_B

    def keep(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"detections": outputs.float()}

    def count(self, split: str, outputs: Tensor, batch: Batch, finite_B: Tensor) -> None:
        good = finite_B.nonzero().flatten().tolist()
        getattr(self, f"{split}_loss").update(self.batch_loss, weight=len(good))
        truth = [batch["label"][b]["truth"].cpu().numpy() for b in good]
        rows = batch["index"][finite_B].cpu().numpy()
        getattr(self, f"{split}_boxes").add(rows, outputs[finite_B].float().cpu().numpy(), truth)

    def measured(self, split: str) -> dict[str, Tensor]:
        loss, boxes = getattr(self, f"{split}_loss"), getattr(self, f"{split}_boxes")
        matches = boxes.take()
        if matches is not None and is_zero(matches) and not (self.told_zero or self.trainer.sanity_checking):
            log.info("%s/%s is 0: %s.", split, self.main_metric, why_zero(matches))
            self.told_zero = True
        values = {f"{split}/{name}": torch.tensor(value) for name, value in boxes.measure(matches).items()}
        values[f"{split}/loss"] = loss.compute()
        loss.reset()
        return values

    def output_layer(self) -> DetectionOutputs:
        return calibrated_layer(self.class_names, self.record.calibration if self.fitted is None else self.fitted)

    def calibrate(self, val: Evidence) -> dict[str, float]:
        """Take slope and shift of the scores, and the thresholds of the classes, that fit val; see answers.py."""
        self.fitted = fitted_calibration(val, self.class_names)
        warn_of_zeros(match_evidence(val, len(self.class_names)), self.class_names, self.main_metric)
        return self.fitted

    def take_thresholds(self, layers: Sequence[OutputLayer]) -> None:
        self.fitted = calibration_of_means(self.class_names, layers)

    def further_metrics(self, evidence: Evidence) -> dict[str, float]:
        """`dece` of scores, calibrated and not; `precision`, `recall` and `f1` at the thresholds and IoU 0.5."""
        answers = BoxAnswers.of(evidence, self.output_layer())
        errors = {"dece": answers.matches, "dece_uncalibrated": answers.raw}
        return {name: detection_calibration_error(matches) for name, matches in errors.items()} | mean_scores(
            answers.accepted
        )

    def draw_training_images(self, images: Sequence[Tensor], targets: Iterable[Any], texts: list[str]) -> Image.Image:
        return draw_batch(images, targets, texts, self.class_names)

    def figures(self, table: ImageTable, evidence: Evidence) -> dict[str, Image.Image]:
        """The confusion matrix, and boxes on some images. Before thresholds are known, with the best of this split."""
        layer = self.output_layer()
        if layer.thresholds is None:
            layer.thresholds = best_thresholds(match_evidence(evidence, len(self.class_names))).tolist()
        answers = BoxAnswers.of(evidence, layer)
        split = evidence.split
        return {
            f"{split}/confusion": draw_confusion(answers, self.class_names),
            f"{split}/boxes": draw_some(table, answers, evidence),
        }

    def placed(self, outputs: Tensor, sizes_wh: Tensor) -> Any:
        return in_pixels(outputs, sizes_wh.to(outputs.device))

    def merged(self, outputs: Tensor, places_xyxy: Tensor) -> Any:
        return merged_tiles(outputs, places_xyxy.to(outputs.device))

    def compare(self, expected: Outputs, found: Outputs) -> tuple[int, float]:
        return compare(expected, found, limits_of(self.model, self.output_layer()))

    def metrics_of(self, found: Outputs, labels: Any, sizes_wh: Tensor) -> dict[str, Tensor]:
        assert isinstance(labels, Boxes)
        detections = in_pixels(self.output_layer().undo(found), torch.from_numpy(labels.values[:, 2:]) / sizes_wh)
        truth = true_boxes([labels.rows_of(n) for n in range(len(labels))])
        measured = box_metrics(match(detections.numpy(), truth, len(self.class_names)))
        return {f"test/{name}": torch.tensor(value) for name, value in measured.items()}

    def predictions_of(self, evidence: Evidence) -> Iterator[Prediction]:
        for start in range(0, len(evidence), 1024):
            yield from self.predictions(torch.from_numpy(evidence.arrays["detections"][start : start + 1024]))
