"""A detector of torchvision that has a mask for each box, and answers with one tensor.

Shapes: B images, H and W pixels, m boxes of an image, D = max_detections, S = MASK_PX.
"""

from typing import Any

import torch
from torch import Tensor

from src.models.detector import BoxTargets, DetectorNetwork

MASK_PX = 28  # side of a mask, in cells that divide its box
MASK_VALUES = MASK_PX**2
BOX_COLUMNS = 6  # of the outputs, before the mask's


class MaskDetectorNetwork(DetectorNetwork):
    """Targets have `masks` too: uint8 [m, H, W] of the image.

    The outputs are float32 [B, D, 6 + S * S]: behind the columns of DetectorNetwork, for each cell of the box, row by
    row, the probability that it is the object's. 0 in rows without a box.
    """

    def _rows(self, size_hw: tuple[int, int], one: dict[str, Tensor], objects: Tensor) -> Tensor:
        masks_mSS = centred(one["masks"][objects, 0].float(), one["boxes"][objects].float())
        return torch.cat([super()._rows(size_hw, one, objects), masks_mSS.flatten(1)], dim=1)

    def _as_torchvision_counts(self, targets: BoxTargets) -> list[dict[str, Tensor]]:
        found = super()._as_torchvision_counts(targets)
        return [{**one, "masks": target["masks"]} for one, target in zip(found, targets, strict=True)]

    @property
    def _columns(self) -> int:
        return BOX_COLUMNS + MASK_VALUES


def centred(masks_mSS: Tensor, boxes_m4: Tensor) -> Tensor:
    """Masks whose cells lie where the boxes [m, 4] say, of such as torchvision's networks learn them.

    Its `project_masks_on_boxes` takes pixel i to be at i, and not at i + 0.5, where its middle is: half a pixel of the
    network's image, which is what a fine digit loses a tenth of its IoU by.
    """
    cells = torch.arange(masks_mSS.shape[-1], device=masks_mSS.device, dtype=masks_mSS.dtype)
    sides_m2 = (boxes_m4[:, 2:] - boxes_m4[:, :2]).clamp(min=1e-2)
    places_m2S = (cells - 0.5 * len(cells) / sides_m2[:, :, None]).clamp(0, len(cells) - 1)
    weights_m2SS = (1 - (places_m2S[..., None] - cells).abs()).clamp(min=0)
    moved: Tensor = weights_m2SS[:, 1] @ masks_mSS @ weights_m2SS[:, 0].transpose(1, 2)
    return moved


def box_columns(outputs: Any) -> Any:
    """Of outputs [..., D, 6 + S * S], those that a detector without masks has."""
    return outputs[..., :BOX_COLUMNS]


def mask_columns(outputs: Tensor) -> Tensor:
    """The masks, [..., D, S, S]."""
    return outputs[..., BOX_COLUMNS:].reshape(*outputs.shape[:-1], MASK_PX, MASK_PX)
