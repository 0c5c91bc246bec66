"""Detectors over the feature pyramid of a classifier; conf/head/*.yaml names them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import MultiScaleRoIAlign

from src.models.catalogue import is_classifier, takes_one_size
from src.models.norms import freeze_norms
from src.models.pyramid import FeaturePyramid, chosen_levels, find_levels, group_norm
from src.settings.errors import ConfigError
from src.settings.rules import at_least, more_than


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
Norms = Literal["frozen", "train"] | None  # None: the caller says it
# With one channel to a group a map of one place could not be normalised.
Channels = Annotated[int, at_least(64)]
Convs = Annotated[int, at_least(1, at_most=8)]
Stride = Literal[4, 8, 16, 32]
AnchorStrides = Annotated[float, more_than(0)]

_SHAPES = (0.5, 1.0, 2.0)  # of anchors: height / width


def fcos(
    net: nn.Module,
    name: str,
    image_size_px: int,
    num_classes: int,
    channels: Channels = 64,
    convs: Convs = 2,
    strides: Sequence[int] | None = None,
    norms: Norms = "frozen",
    finest_stride: Stride = 4,
) -> NewDetector:
    """One box per place, given by its four sides, scored by class and by how central the place is: no anchors.

    Tian et al. 2019, arXiv 1904.01355.
    """
    pyramid = _pyramid(net, name, image_size_px, channels, strides, norms, finest_stride)
    anchors = AnchorGenerator(tuple((stride,) for stride in pyramid.strides), ((1.0,),) * len(pyramid.strides))
    head = FCOSHead(channels, 1, num_classes + 1, num_convs=convs)
    detector = FCOS(pyramid, num_classes + 1, anchor_generator=anchors, head=head)
    return NewDetector(detector, ["backbone.fpn", "head"], pyramid.size_divisible)


def retinanet(
    net: nn.Module,
    name: str,
    image_size_px: int,
    num_classes: int,
    channels: Channels = 64,
    convs: Annotated[int, at_least(1, at_most=4)] = 2,
    strides: Sequence[int] | None = None,
    anchor_strides: AnchorStrides = 4.0,
    norms: Norms = "frozen",
    finest_stride: Stride = 4,
) -> NewDetector:
    """Nine anchors per place, of three sizes and three shapes, scored by class with the focal loss.

    Lin et al. 2017, arXiv 1708.02002. The smallest anchor of a level has `anchor_strides` times its stride.
    """
    pyramid = _pyramid(net, name, image_size_px, channels, strides, norms, finest_stride)
    smallest = [stride * anchor_strides for stride in pyramid.strides]
    sizes = tuple(tuple(side * 2 ** (third / 3) for third in range(3)) for side in smallest)
    anchors = AnchorGenerator(sizes, (_SHAPES,) * len(sizes))
    head = RetinaNetHead(channels, 9, num_classes + 1, norm_layer=group_norm)
    for branch in (head.classification_head, head.regression_head):
        branch.conv = branch.conv[:convs]
    detector = RetinaNet(pyramid, num_classes + 1, anchor_generator=anchors, head=head)
    return NewDetector(detector, ["backbone.fpn", "head"], pyramid.size_divisible)


def faster_rcnn(
    net: nn.Module,
    name: str,
    image_size_px: int,
    num_classes: int,
    channels: Channels = 64,
    hidden_features: Annotated[int, at_least(1)] = 256,
    proposals: Annotated[int, at_least(1)] = 300,
    samples: Annotated[int, at_least(1)] = 128,
    strides: Sequence[int] | None = None,
    anchor_strides: AnchorStrides = 4.0,
    norms: Norms = "frozen",
    finest_stride: Stride = 4,
) -> NewDetector:
    """Two stages: `proposals` places that may show an object, then a class and a better box for each of them.

    Ren et al. 2015, arXiv 1506.01497. The loss of the second stage is computed from `samples` proposals per image.
    """
    pyramid = _pyramid(net, name, image_size_px, channels, strides, norms, finest_stride)
    sizes = tuple((stride * anchor_strides,) for stride in pyramid.strides)
    maps = [str(level) for level in range(len(pyramid.strides) - 1)]
    detector = FasterRCNN(
        pyramid,
        rpn_anchor_generator=AnchorGenerator(sizes, (_SHAPES,) * len(sizes)),
        rpn_pre_nms_top_n_train=2 * proposals,
        rpn_pre_nms_top_n_test=2 * proposals,
        rpn_post_nms_top_n_train=proposals,
        rpn_post_nms_top_n_test=proposals,
        box_roi_pool=MultiScaleRoIAlign(maps, output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(channels * 7 * 7, hidden_features),
        box_predictor=FastRCNNPredictor(hidden_features, num_classes + 1),
        box_batch_size_per_image=samples,
    )
    return NewDetector(detector, ["backbone.fpn", "rpn", "roi_heads"], pyramid.size_divisible)


def _pyramid(
    net: nn.Module,
    name: str,
    image_size_px: int,
    channels: int,
    strides: Sequence[int] | None,
    norms: Norms,
    finest_stride: int,
) -> FeaturePyramid:
    """Over all levels from `finest_stride` on, or over those with the `strides` that are given."""
    if not is_classifier(name):
        raise ConfigError(f"backbone.name='{name}' is a whole detector with a head of its own: add head=torchvision.")
    if norms == "frozen":
        freeze_norms(net)
    levels = chosen_levels(find_levels(net, name, image_size_px), strides, finest_stride)
    return FeaturePyramid(net, levels, channels, image_size_px if takes_one_size(name) else None)
