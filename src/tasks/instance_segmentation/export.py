"""The last layer of a detector with masks.

Shapes: B images, D rows for boxes, S side of a mask in its box.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from src.evaluation.found_objects import SIZES
from src.evaluation.prediction import Outputs
from src.models.mask_detector import box_columns, mask_columns
from src.tasks.detection.export import DetectionOutputs


@dataclass(frozen=True)
class PlacedOutputs:
    """Outputs [B, D, 6 + S * S] with boxes in pixels of images of these sizes, int64 [B, 2]."""

    rows: Tensor
    sizes_wh: Tensor

    def to(self, device: torch.device) -> "PlacedOutputs":
        return PlacedOutputs(self.rows.to(device), self.sizes_wh)


class InstanceSegmentationOutputs(DetectionOutputs):
    """As of DetectionOutputs, and `masks` float32 [B, D, S, S]: for each cell of a box, the probability that it is the
    object's, 0..1.
    """

    def forward(self, outputs: Tensor) -> dict[str, Tensor]:
        return {**super().forward(box_columns(outputs)), "masks": mask_columns(outputs)}

    def undo(self, outputs: Outputs) -> Any:
        """Outputs [B, D, 6], and the masks as they are, of a checkpoint or of an exported file."""
        return super().undo(outputs), outputs["masks"]

    def arrays(self, outputs: Tensor | PlacedOutputs) -> Outputs:
        """With the sizes of the images, where they are known."""
        if isinstance(outputs, Tensor):
            return super().arrays(outputs)
        return {**super().arrays(outputs.rows), SIZES: outputs.sizes_wh.cpu().numpy()}
