"""Heads that say a class for each pixel, over a classifier's feature maps; conf/head/*.yaml names them."""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.models.catalogue import takes_one_size
from src.models.detection_heads import Norms
from src.models.norms import freeze_norms
from src.models.pyramid import FeaturePyramid, chosen_levels, find_levels, group_norm
from src.models.segmenter import NewSegmenter, PixelNetwork
from src.settings.rules import at_least

# (network of torchvision, its name, side of the images in pixels, K classes) -> segmenter
SegmentationHeadFactory = Callable[[nn.Module, str, int, int], NewSegmenter]


class PyramidPixels(nn.Module):
    """A convolution on each level, their sum at the finest, and logits of that (Kirillov et al. 2019, arXiv 1901.02446,
    with one convolution instead of one for each halving).
    """

    def __init__(self, channels: int, levels: int, convs: int, num_classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(normed_conv(channels) for _ in range(levels))
        self.convs = nn.Sequential(*(normed_conv(channels) for _ in range(convs)))
        self.logits = nn.Conv2d(channels, num_classes, kernel_size=1)

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        found = [level(one) for level, one in zip(self.levels, maps.values(), strict=False)]
        size = found[0].shape[-2:]
        same = [F.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in found[1:]]
        logits: Tensor = self.logits(self.convs(torch.stack([found[0], *same]).sum(dim=0)))
        return logits


def normed_conv(channels: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(conv, group_norm(channels), nn.ReLU(inplace=True))


def pyramid(
    net: nn.Module,
    name: str,
    image_size_px: int,
    num_classes: int,
    channels: Annotated[int, at_least(64)] = 64,
    convs: Annotated[int, at_least(1, at_most=8)] = 1,
    strides: Sequence[int] | None = None,
    norms: Norms = "frozen",
) -> NewSegmenter:
    """A feature pyramid over all levels, or those with the `strides`, and logits at its finest one."""
    if norms == "frozen":
        freeze_norms(net)
    levels = chosen_levels(find_levels(net, name, image_size_px), strides)
    body = FeaturePyramid(net, levels, channels, image_size_px if takes_one_size(name) else None)
    head = PyramidPixels(channels, len(levels), convs, num_classes)
    return NewSegmenter(PixelNetwork(body, head), ["backbone.fpn", "classifier"])
