"""Objects with a class, a score and their pixels: what detection does, and a mask for each box.

Shapes: B images, D rows for the boxes that are found in one, S side of a mask in its box, N images of a split.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from src.data.boxes import Boxes
from src.data.dataset import Batch
from src.data.instances import Instances, unpacked
from src.evaluation.boxes.average_precision import box_metrics
from src.evaluation.boxes.mask_overlaps import MaskMeasure
from src.evaluation.boxes.matching import match
from src.evaluation.evidence import Evidence
from src.evaluation.pixels.pasting import FULL
from src.evaluation.prediction import Outputs, Prediction
from src.models.mask_detector import MaskDetectorNetwork, box_columns, mask_columns
from src.tasks.detection.answers import calibrated_layer, true_boxes
from src.tasks.detection.metrics import BoxMetrics
from src.tasks.detection.task import DetectionTask
from src.tasks.detection.zero_ap import require_measurable
from src.tasks.instance_segmentation.export import InstanceSegmentationOutputs, PlacedOutputs
from src.tasks.instance_segmentation.exported import ExportedMasks
from src.tasks.instance_segmentation.prediction import InstanceSegmentationPrediction, as_bytes

BOX_NAMES = ("ap", "ap50")  # of BoxMetrics; of masks there are all
IMAGES_AT_ONCE = 32  # whose masks become numbers


class InstanceSegmentationTask(DetectionTask):
    """Logs of val and test `loss`, those of BoxMetrics for masks (`mask_ap`, ...), and `box_ap` and `box_ap50`.

    Keeps of each image `detections` as DetectionTask does, and `masks` uint8 [D, S, S]: probabilities in bytes.
    Everything that detection says of boxes at an IoU is said here of masks at theirs: thresholds, calibration, errors.
    """

    combination = None  # masks lie in boxes, which would move
    prediction: ClassVar[type[InstanceSegmentationPrediction]] = InstanceSegmentationPrediction
    exported_model = ExportedMasks
    network_kind = MaskDetectorNetwork
    main_metric = "mask_ap"

    def require_measurable(self, labels: Boxes) -> None:
        name = self.monitor.removeprefix("val/")
        require_measurable(self.monitor, labels, name.removeprefix("mask_").removeprefix("box_"))

    def configure_metrics(self) -> None:
        super().configure_metrics()
        self.val_masks, self.test_masks = (BoxMetrics(len(self.class_names)) for _ in range(2))

    @property
    def metric_names(self) -> list[str]:
        masks, boxes = (f"val/mask_{name}" for name in BoxMetrics.names), (f"val/box_{name}" for name in BOX_NAMES)
        return ["val/loss", *masks, *boxes]

    def keep(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        masks = (mask_columns(outputs) * FULL).round().nan_to_num().to(torch.uint8)
        return {"detections": box_columns(outputs).float(), "masks": masks}

    def count(self, split: str, outputs: Tensor, batch: Batch, finite_B: Tensor) -> None:
        kept = {name: value[finite_B].cpu().numpy() for name, value in self.keep(outputs, batch).items()}
        super().count(split, box_columns(outputs), batch, finite_B)
        labels = [batch["label"][b] for b in finite_B.nonzero().flatten().tolist()]
        truth = [label["truth"].cpu().numpy() for label in labels]
        measure = MaskMeasure(kept["masks"], lambda b: unpacked(labels[b]["truth_masks"]))
        rows = batch["index"][finite_B].cpu().numpy()
        getattr(self, f"{split}_masks").add(rows, kept["detections"], truth, measure)

    def measured(self, split: str) -> dict[str, Tensor]:
        boxes, masks = super().measured(split), getattr(self, f"{split}_masks")
        values = {f"{split}/mask_{name}": torch.tensor(value) for name, value in masks.measure(masks.take()).items()}
        values |= {f"{split}/box_{name}": boxes[f"{split}/{name}"] for name in BOX_NAMES}
        return {**values, f"{split}/loss": boxes[f"{split}/loss"]}

    def output_layer(self) -> InstanceSegmentationOutputs:
        calibration = self.record.calibration if self.fitted is None else self.fitted
        layer = calibrated_layer(self.class_names, calibration, InstanceSegmentationOutputs)
        assert isinstance(layer, InstanceSegmentationOutputs)
        return layer

    def placed(self, outputs: Tensor, sizes_wh: Tensor) -> PlacedOutputs:
        return PlacedOutputs(super().placed(outputs, sizes_wh), sizes_wh)

    def merged(self, outputs: Tensor, places_xyxy: Tensor) -> PlacedOutputs:
        return PlacedOutputs(super().merged(outputs, places_xyxy), places_xyxy[:, 2:].amax(dim=0)[None])

    def compare(self, expected: Outputs, found: Outputs) -> tuple[int, float]:
        """Images that have another mask anywhere are not alike."""
        same, largest = super().compare(expected, found)
        layer = self.output_layer()
        pairs = zip(*(self.prediction.of(outputs, layer) for outputs in (expected, found)), strict=True)
        return max(same - sum(one.unlike_masks(other) for one, other in pairs), 0), largest

    def metrics_of(self, found: Outputs, labels: Any, sizes_wh: Tensor) -> dict[str, Tensor]:
        assert isinstance(labels, Instances)
        rows_ND6, masks = self.output_layer().undo(found)
        truth = true_boxes([labels.rows_of(n) for n in range(len(labels))])
        measure = MaskMeasure(
            masks if masks.dtype == object else as_bytes(masks),
            lambda n: labels.crops(n, (int(sizes_wh[n, 0]), int(sizes_wh[n, 1]))),
        )
        measured = box_metrics(match(rows_ND6.numpy(), truth, len(self.class_names), measure))
        return {f"test/mask_{name}": torch.tensor(value) for name, value in measured.items()}

    def predictions_of(self, evidence: Evidence) -> Iterator[Prediction]:
        for start in range(0, len(evidence), IMAGES_AT_ONCE):
            some = slice(start, start + IMAGES_AT_ONCE)
            rows_BD6, masks_BDSS = evidence.arrays["detections"][some], evidence.arrays["masks"][some]
            masks = masks_BDSS.reshape(*masks_BDSS.shape[:2], -1).astype(np.float32) / FULL
            rows = torch.from_numpy(np.concatenate([rows_BD6, masks], axis=-1))
            yield from self.predictions(PlacedOutputs(rows, torch.from_numpy(evidence.labels.values[some, 2:])))
