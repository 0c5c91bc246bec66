"""A detector with masks as an exported file computes it.

Shapes: H and W pixels of an image, M boxes, S side of a mask in its box.
"""

from typing import Any

from torch import Tensor

from src.models.mask_graph import MaskGraph, pasted_masks
from src.tasks.detection.exported import ExportedDetector


class ExportedMasks(ExportedDetector):
    """Takes one RGB image uint8 [1, 3, H, W] of any size, and returns what ExportedDetector does, and `masks` uint8
    [M, H, W] in the image's pixels, 1 = the object's.
    """

    def __init__(self, network: Any, *others: Any, **more: Any) -> None:
        super().__init__(network, *others, **more)
        self.find = MaskGraph(self.network.net)

    def named(self, outputs: dict[str, Tensor], images: Tensor) -> tuple[Tensor, ...]:
        masks_MHW = pasted_masks(outputs["masks"], outputs["boxes"], images.shape[2], images.shape[3])
        return super().named({**outputs, "masks": masks_MHW}, images)
