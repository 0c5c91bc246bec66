"""Heads that say a class for each pixel, over a classifier's feature maps; conf/head/*.yaml names them."""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead
from torchvision.models.segmentation.lraspp import LRASPPHead

from src.models.catalogue import is_classifier, takes_one_size
from src.models.detection_heads import Norms
from src.models.norms import bear_batches_of_one, freeze_norms
from src.models.pyramid import FeaturePyramid, Level, chosen_levels, find_levels, group_norm, in_front, level_body
from src.models.segmenter import NewSegmenter, PixelNetwork
from src.settings.errors import ConfigError
from src.settings.rules import at_least

# (network of torchvision, its name, side of the images in pixels, K classes) -> segmenter
SegmentationHeadFactory = Callable[[nn.Module, str, int, int], NewSegmenter]
Channels = Annotated[int, at_least(64)]

# Of the dilated convolutions of DeepLab, for maps of stride 16; torchvision's are of stride 8, with 12, 24 and 36.
_DEEPLAB_RATES = (6, 12, 18)


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


class OfOneMap(nn.Module):
    """A head that takes one map, of the levels `high`."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.head(maps["high"])
        return logits


class NormedLevels(nn.Module):
    """Some levels of a classifier by name, each normalised: raw ones differ in size by orders of magnitude."""

    def __init__(self, net: nn.Module, levels: dict[str, Level]) -> None:
        super().__init__()
        self.body = level_body(net, levels)
        self.behind = [level.channels_behind for level in levels.values()]
        self.norms = nn.ModuleDict({name: nn.GroupNorm(1, level.channels) for name, level in levels.items()})

    def forward(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        return {name: self.norms[name](one) for name, one in in_front(self.body(images_BCHW), self.behind)}


def pyramid(
    net: nn.Module,
    name: str,
    image_size_px: int,
    num_classes: int,
    channels: Channels = 64,
    convs: Annotated[int, at_least(1, at_most=8)] = 1,
    strides: Sequence[int] | None = None,
    norms: Norms = "frozen",
) -> NewSegmenter:
    """A feature pyramid over all levels, or those with the `strides`, and logits at its finest one."""
    levels = chosen_levels(levels_of(net, name, image_size_px, norms), strides)
    body = FeaturePyramid(net, levels, channels, image_size_px if takes_one_size(name) else None)
    head = PyramidPixels(channels, len(levels), convs, num_classes)
    return NewSegmenter(PixelNetwork(body, head), ["backbone.fpn", "classifier"])


def lraspp(
    net: nn.Module,
    name: str,
    image_size_px: int,
    num_classes: int,
    channels: Channels = 128,
    norms: Norms = "frozen",
) -> NewSegmenter:
    """Logits of stride 8, and of stride 16 weighed by what the whole image shows (Howard et al. 2019, arXiv
    1905.02244).
    """
    levels = {level.stride: level for level in levels_of(net, name, image_size_px, norms)}
    low, high = levels[8], levels[16]
    head = LRASPPHead(low.channels, high.channels, num_classes, channels)
    return over_levels(net, {"low": low, "high": high}, head)


def deeplabv3(net: nn.Module, name: str, image_size_px: int, num_classes: int, norms: Norms = "frozen") -> NewSegmenter:
    """Convolutions that look near and far, on maps of stride 16 (Chen et al. 2017, arXiv 1706.05587); the body is not
    dilated.
    """
    levels = {level.stride: level for level in levels_of(net, name, image_size_px, norms)}
    head = DeepLabHead(levels[16].channels, num_classes, _DEEPLAB_RATES)
    return over_levels(net, {"high": levels[16]}, OfOneMap(head))


def fcn(net: nn.Module, name: str, image_size_px: int, num_classes: int, norms: Norms = "frozen") -> NewSegmenter:
    """Two convolutions on maps of stride 16 (Long et al. 2015, arXiv 1411.4038); the body is not dilated."""
    levels = {level.stride: level for level in levels_of(net, name, image_size_px, norms)}
    return over_levels(net, {"high": levels[16]}, OfOneMap(FCNHead(levels[16].channels, num_classes)))


def over_levels(net: nn.Module, levels: dict[str, Level], head: nn.Module) -> NewSegmenter:
    bear_batches_of_one(head)
    return NewSegmenter(PixelNetwork(NormedLevels(net, levels), head), ["backbone.norms", "classifier"])


def levels_of(net: nn.Module, name: str, image_size_px: int, norms: Norms) -> list[Level]:
    if not is_classifier(name):
        raise ConfigError(f"backbone.name='{name}' is a whole network with a head of its own: leave head= out.")
    if norms == "frozen":
        freeze_norms(net)
    return find_levels(net, name, image_size_px)


def normed_conv(channels: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(conv, group_norm(channels), nn.ReLU(inplace=True))
