"""Detectors that say which pixels of a box belong to the object; conf/head/*.yaml names them."""

from collections.abc import Sequence
from typing import Annotated, Any

from torch import nn
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from src.models.detection_heads import AnchorStrides, Channels, NewDetector, Norms, Stride, faster_rcnn
from src.settings.rules import at_least


def mask_rcnn(
    net: nn.Module,
    name: str,
    image_size_px: int,
    num_classes: int,
    channels: Channels = 64,
    mask_convs: Annotated[int, at_least(1, at_most=8)] = 2,
    hidden_features: Annotated[int, at_least(1)] = 256,
    proposals: Annotated[int, at_least(1)] = 300,
    samples: Annotated[int, at_least(1)] = 128,
    strides: Sequence[int] | None = None,
    anchor_strides: AnchorStrides = 4.0,
    norms: Norms = "frozen",
    finest_stride: Stride = 4,
) -> NewDetector:
    """Faster R-CNN, and a mask of 28 by 28 for each box, one of each class.

    He et al. 2017, arXiv 1703.06870. `mask_convs`: layers that see 14 by 14 places of the box before that.
    """
    detector = faster_rcnn(
        net, name, image_size_px, num_classes, channels, hidden_features, proposals, samples, strides, anchor_strides,
        norms, finest_stride,
    )  # fmt: skip
    heads: Any = detector.net.roi_heads
    heads.mask_roi_pool = MultiScaleRoIAlign(heads.box_roi_pool.featmap_names, output_size=14, sampling_ratio=2)
    heads.mask_head = MaskRCNNHeads(channels, [channels] * mask_convs, dilation=1)
    heads.mask_predictor = MaskRCNNPredictor(channels, channels, num_classes + 1)
    return detector
