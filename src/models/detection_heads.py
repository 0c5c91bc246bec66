"""Detectors over the feature pyramid of a classifier; conf/head/*.yaml names them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead

from src.models.norms import freeze_norms
from src.models.pyramid import FeaturePyramid, chosen_levels, find_levels
from src.settings.rules import at_least


@dataclass(frozen=True)
class NewDetector:
    """One of torchvision's detectors, for K + 1 classes of which 0 is the background.

    `head_names`: its new modules, from input to output. It wants images whose sides are multiples of `size_divisible`.
    """

    net: nn.Module
    head_names: list[str]
    size_divisible: int


# (network of torchvision, its name, side of the images in pixels, K classes without the background) -> detector
DetectionHeadFactory = Callable[[nn.Module, str, int, int], NewDetector]
Norms = Literal["frozen", "train"]
Channels = Annotated[int, at_least(32)]
Convs = Annotated[int, at_least(1, at_most=8)]


def fcos(
    net: nn.Module,
    name: str,
    image_size_px: int,
    num_classes: int,
    channels: Channels = 64,
    convs: Convs = 2,
    strides: Sequence[int] | None = None,
    norms: Norms = "frozen",
) -> NewDetector:
    """One box per place, given by its four sides, scored by class and by how central the place is: no anchors.

    Tian et al. 2019, arXiv 1904.01355.
    """
    pyramid = _pyramid(net, name, image_size_px, channels, strides, norms)
    anchors = AnchorGenerator(tuple((stride,) for stride in pyramid.strides), ((1.0,),) * len(pyramid.strides))
    head = FCOSHead(channels, 1, num_classes + 1, num_convs=convs)
    detector = FCOS(pyramid, num_classes + 1, anchor_generator=anchors, head=head)
    return NewDetector(detector, ["backbone.fpn", "head"], pyramid.size_divisible)


def _pyramid(
    net: nn.Module, name: str, image_size_px: int, channels: int, strides: Sequence[int] | None, norms: Norms
) -> FeaturePyramid:
    if norms == "frozen":
        freeze_norms(net)
    levels = chosen_levels(find_levels(net, name, image_size_px), strides)
    return FeaturePyramid(net, levels, channels)
