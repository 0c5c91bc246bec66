"""A class for each pixel.

Shapes: B images, K classes, P pixels of an image that are looked at closely, H and W pixels of a file, h and w places
of the network's map.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from src.data.dataset import Batch
from src.data.table import ImageTable
from src.evaluation.calibration import calibration_metrics, fit_temperature, to_probabilities
from src.evaluation.evidence import Evidence
from src.evaluation.pixels.confusion import VOID, PixelSums, mean_metrics
from src.evaluation.prediction import Floats, Outputs
from src.models.by_shape import groups_by_shape
from src.models.segmenter import SegmenterNetwork, enlarged, padded_masks
from src.runs.record import RunRecord
from src.tasks.confusion_section import draw_in_order
from src.tasks.segmentation.agreement import ALIKE, digest_of
from src.tasks.segmentation.answers import evidence_of
from src.tasks.segmentation.combination import SegmentationCombination
from src.tasks.segmentation.drawn import draw_batch, draw_some
from src.tasks.segmentation.export import SegmentationOutputs
from src.tasks.segmentation.exported import ExportedSegmenter
from src.tasks.segmentation.kept import confusion_counts, image_sums, known_pixels
from src.tasks.segmentation.metrics import PixelMetrics
from src.tasks.segmentation.prediction import SegmentationPrediction
from src.tasks.segmentation.tiles import blended_tiles
from src.training.task import FineTuneTask

AUXILIARY_SHARE = 0.5  # of the second loss, as in torchvision's reference training


class SegmentationTask(FineTuneTask):
    """Logs of val and test `loss` and those of PixelMetrics, which are measured in the pixels of the files.

    Keeps of each image the pixels by true and found class, and the logits of some pixels (answers.py).
    """

    prediction = SegmentationPrediction
    combination = SegmentationCombination
    exported_model = ExportedSegmenter
    model: SegmenterNetwork
    loss: nn.Module
    needs_loss = True
    fitted: float | None = None  # temperature, at the end of a run; before that the checkpoint's holds

    @classmethod
    def adapt(
        cls, net: nn.Module, record: RunRecord, head: Callable[..., Any], channels_last: bool
    ) -> SegmenterNetwork:
        size_px, classes = record.preprocessing.crop_px, len(record.class_names)
        segmenter = head(net, record.backbone_name, size_px, classes, **record.usual_norms)
        return SegmenterNetwork(segmenter, record.preprocessing, channels_last)

    def configure_metrics(self) -> None:
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_pixels, self.test_pixels = (PixelMetrics(len(self.class_names)) for _ in range(2))
        self.batch_losses = torch.zeros(0)

    @property
    def metric_names(self) -> list[str]:
        return ["val/loss", *(f"val/{name}" for name in PixelMetrics.names)]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        logits_BKHW, auxiliary = self.model.training_logits(batch["image"])
        masks_BHW = padded_masks([label["mask"] for label in batch["label"]], logits_BKHW.shape[-2:], VOID)
        self.finite = logits_BKHW.detach().flatten(start_dim=1).isfinite().all(dim=1)
        loss = self.loss(logits_BKHW, masks_BHW)
        if auxiliary is not None:
            loss = loss + AUXILIARY_SHARE * self.loss(auxiliary, masks_BHW)
        return {"loss": loss}

    def suspects(self, batch: Batch) -> Tensor:
        return ~self.finite if len(batch["index"]) else super().suspects(batch)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """What is kept of each image; the losses of the batch are computed beside."""
        images, masks = batch["image"], [label["mask"] for label in batch["label"]]
        logits: list[Tensor] = [torch.empty(0)] * len(masks)
        losses = torch.zeros(len(masks), device=self.device)
        for group in groups_by_shape(images):
            found = self.model(torch.stack([images[b] for b in group]))
            for b, logits_Khw in zip(group, found, strict=True):
                logits[b] = logits_Khw
                size = images[b].shape[-2:]
                target = F.interpolate(masks[b][None, None].float(), size=size, mode="nearest-exact").long()[0]
                losses[b] = self.loss(enlarged(logits_Khw[None], size), target)
        self.batch_losses = losses
        return evidence_of(logits, masks, batch["index"].tolist())

    def keep(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        return outputs

    def count(self, split: str, outputs: dict[str, Tensor], batch: Batch, finite_B: Tensor) -> None:
        getattr(self, f"{split}_loss").update(self.batch_losses[finite_B])
        getattr(self, f"{split}_pixels").update(outputs["pairs"][finite_B])

    def measured(self, split: str) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for metric in (getattr(self, f"{split}_loss"), getattr(self, f"{split}_pixels")):
            computed = metric.compute()
            values |= computed if isinstance(computed, dict) else {"loss": computed}
            metric.reset()
        return {f"{split}/{name}": value for name, value in values.items()}

    @property
    def temperature(self) -> float:
        return self.record.temperature if self.fitted is None else self.fitted

    def output_layer(self) -> SegmentationOutputs:
        return SegmentationOutputs(self.class_names, self.temperature)

    def calibrate(self, val: Evidence) -> dict[str, float]:
        """Take the temperature that fits some pixels of val."""
        logits, truth = known_pixels(val)
        if not len(truth):
            return {}
        self.fitted = fit_temperature(logits, truth, one_class=True)
        return {"temperature": self.fitted}

    def further_metrics(self, evidence: Evidence) -> dict[str, float]:
        """`ece` and `brier` of a pixel's probabilities, calibrated and not, by some pixels of each image."""
        logits, truth = known_pixels(evidence)
        if not len(truth):
            return {}
        return calibration_metrics(logits, truth, self.temperature, one_class=True)

    def look_at(self, image_CHW: Tensor) -> Tensor:
        """Logits [K, h, w] of one image uint8 [3, H, W], as in evaluation."""
        training = self.training
        with torch.inference_mode():
            logits_1Khw: Tensor = self.eval().model(image_CHW[None].to(self.device))
        self.train(training)
        return logits_1Khw[0]

    def draw_training_images(self, images: Sequence[Tensor], targets: Iterable[Any], texts: list[str]) -> Image.Image:
        return draw_batch(images, targets, texts, self.class_names)

    def figures(self, table: ImageTable, evidence: Evidence) -> dict[str, Image.Image]:
        """The confusion of pixels, and some images with their truth and what is found now."""
        split, confusions = evidence.split, confusion_counts(evidence)
        drawn = {f"{split}/confusion": draw_in_order(confusions, self.class_names, percent=True)}
        if not self.is_sharded:  # the other processes do not look
            drawn[f"{split}/masks"] = draw_some(self, table, evidence)
        return drawn

    def predictions_of(self, evidence: Evidence) -> Iterator[SegmentationPrediction]:
        """Confidences are those of some pixels."""
        for found_K, logits_PK in zip(image_sums(evidence).found, evidence.arrays["logits"], strict=True):
            shares_PK = to_probabilities(logits_PK.astype(np.float64) / self.temperature, one_class=True)
            yield SegmentationPrediction(found_K, self.class_names, confidence=shares_PK.max(axis=1))

    def digest(self, expected: Outputs, found: Outputs, labels: Any = None, first: int = 0) -> Outputs:
        masks = () if labels is None else [labels.mask(n) for n in range(first, first + len(found["mask"]))]
        return digest_of(expected, found, masks, len(self.class_names))

    def shares_alike(self, digest: Outputs) -> Floats:
        return digest["same"]

    def compare(self, expected: Outputs, found: Outputs) -> tuple[int, float]:
        return int((found["same"] >= ALIKE).sum()), float(found["apart"].max())

    def metrics_of(self, found: Outputs, labels: Any, sizes_wh: Tensor) -> dict[str, Tensor]:
        values = mean_metrics(PixelSums(*(found[name].sum(axis=0) for name in ("right", "true", "found"))))
        return {f"test/{name}": torch.tensor(value) for name, value in values.items()}

    def placed(self, outputs: Any, sizes_wh: Tensor) -> Any:
        return self.output_layer().of_images(outputs, sizes_wh.tolist())

    def merged(self, outputs: Tensor, places_xyxy: Tensor) -> Any:
        return [blended_tiles(outputs, places_xyxy, self.temperature)]

    def predictions(self, outputs: Any, threshold: float | None = None) -> Iterator[SegmentationPrediction]:
        """One after the other: images may be large, and there are no thresholds."""
        layer = self.output_layer()
        for one in outputs:
            yield from SegmentationPrediction.of(layer.as_arrays(one), layer)
