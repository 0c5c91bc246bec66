"""Mask R-CNN as a graph of plain tensor operations, as src/models/rcnn_graph.py has Faster R-CNN.

Shapes: M boxes that are found, D of them at most, S side of a mask in its box, H and W pixels.
"""

from typing import TypeAlias

import torch
from torch import Tensor

from src.evaluation.pixels.pasting import FULL, HALF
from src.models.mask_detector import centred
from src.models.rcnn_graph import TwoStageGraph

FoundMasks: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]  # as Found, and masks float32 [M, S, S]


class MaskGraph(TwoStageGraph):
    """Boxes, and then a mask for each of them."""

    def __call__(self, pixels_13hw: Tensor, size_2: Tensor) -> FoundMasks:  # type: ignore[override]
        maps = self.net.backbone(pixels_13hw)
        boxes_M4, scores_M, labels_M = self.boxes(maps, pixels_13hw, size_2)
        # Of a fixed number of boxes, since convolutions over any number cannot be exported.
        many = self.heads.detections_per_img
        filled = torch.arange(many)
        boxes_D4 = torch.cat([boxes_M4, boxes_M4.new_ones(many, 4)])[filled]
        labels_D = torch.cat([labels_M, labels_M.new_zeros(many)])[filled]
        pooled = self.pooled(self.seen(maps), boxes_D4, self.heads.mask_roi_pool).to(pixels_13hw.dtype)
        logits_DKSS = self.heads.mask_predictor(self.heads.mask_head(pooled)).float()
        masks_DSS = torch.sigmoid(logits_DKSS[filled, labels_D])
        places_M = torch.ones_like(labels_M).cumsum(0) - 1
        return boxes_M4, scores_M, labels_M, centred(masks_DSS, boxes_D4)[places_M]


def pasted_masks(masks_MSS: Tensor, boxes_M4: Tensor, height: int, width: int) -> Tensor:
    """uint8 [M, H, W], 1 inside: as src/evaluation/pixels/pasting.py, of boxes in the image's pixels."""
    across = _weights(width, boxes_M4[:, 0], boxes_M4[:, 2], masks_MSS.shape[-1])
    down = _weights(height, boxes_M4[:, 1], boxes_M4[:, 3], masks_MSS.shape[-1])
    values_MHW = down @ (masks_MSS * FULL).round() @ across.transpose(1, 2)
    return (values_MHW > HALF).to(torch.uint8)


def _weights(pixels: int, starts_M: Tensor, ends_M: Tensor, cells: int) -> Tensor:
    """By which each pixel takes of each cell, [M, pixels, cells]; 0 beside the box."""
    middles_P = torch.arange(pixels) + 0.5
    places_MP = (middles_P - starts_M[:, None]) * (cells / (ends_M - starts_M))[:, None] - 0.5
    inside_MP = (middles_P >= starts_M[:, None]) & (middles_P < ends_M[:, None])
    distances_MPS = (places_MP.clamp(0, cells - 1)[..., None] - torch.arange(cells)).abs()
    return (1 - distances_MPS).clamp(min=0) * inside_MP[..., None]
