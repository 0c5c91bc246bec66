"""Feature maps of a classifier at several scales, and a pyramid over them: what detectors and segmenters look at.

Shapes: B images, C channels, H and W pixels, h and w places of a feature map.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from torch import Tensor, fx, nn
from torchvision.models import SqueezeNet
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from src.models.catalogue import find_head, takes_one_size
from src.models.on_meta import run_on_meta
from src.models.timm_networks import is_of_timm
from src.settings.errors import ConfigError

STRIDES = (4, 8, 16, 32)  # of feature maps that a pyramid is built over
GROUPS = 32  # of GroupNorm, as in torchvision's heads; numbers of channels are multiples of it
_MEASURED_PX = 320  # side of the image that shows the strides; in a small one rounding hides them
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Level:
    """Feature maps [B, `channels`, H / `stride`, W / `stride`] that the module `name` returns.

    `channels_behind`: it returns [B, h, w, C] instead, as Swin does.
    """

    stride: int
    name: str
    channels: int
    channels_behind: bool


def find_levels(net: nn.Module, name: str, image_size_px: int) -> list[Level]:
    """Feature maps of a classifier by stride, the finest first: one level for each of `STRIDES` that it has.

    A level is what the last module returns at that stride. These do not count: the head and, in SqueezeNet, its
    neighbours; pooling to a fixed size; and modules inside a block whose own output has another stride.
    75 of torchvision's 80 classifiers have three levels or four. Raises ConfigError for the others, ViTs.
    """
    seen = _seen_levels(net, image_size_px if takes_one_size(name) else _MEASURED_PX)
    head = find_head(net)
    modules = dict(net.named_modules())
    # A convolution as head has ReLU and pooling beside it; a linear layer stands behind the last map.
    ending = head.rpartition(".")[0] if isinstance(modules[head], nn.Conv2d) else head
    strides = {level.name: level.stride for level in seen}

    def in_trunk(level: Level) -> bool:
        if f"{level.name}.".startswith(f"{ending}."):
            return False
        parts = level.name.split(".")
        parents = [".".join(parts[:n]) for n in range(1, len(parts))]
        blocks = [parent for parent in parents if type(modules[parent]) not in _CONTAINERS]
        return all(strides.get(block, level.stride) == level.stride for block in blocks)

    found = {level.stride: level for level in seen if level.stride in STRIDES and in_trunk(level)}
    if len(found) < 3:
        raise ConfigError(
            f"backbone.name='{name}' has no feature maps at several scales, which say what is where: small things "
            "and large ones. Take a convolutional network or a Swin Transformer: backbone=squeezenet1_1, "
            "mobilenet_v3_large, resnet50, convnext_tiny, swin_t, or any other classifier but the ViTs."
        )
    return [found[stride] for stride in sorted(found)]


def _seen_levels(net: nn.Module, size_px: int) -> list[Level]:
    """What each module returns for a square image, as a level if it is one, in the order of computation.

    Computed on torch's meta device: shapes alone.
    """
    seen: list[Level] = []
    handles = []
    for name, module in net.named_modules():
        if name and not isinstance(module, nn.AdaptiveAvgPool2d | nn.Dropout):

            def see(_: nn.Module, __: object, output: object, name: str = name) -> None:
                if (level := _as_level(name, output, size_px)) is not None:
                    seen.append(level)

            handles.append(module.register_forward_hook(see))
    try:
        run_on_meta(net, size_px)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _as_level(name: str, output: object, size_px: int) -> Level | None:
    """Maps without padding are a little smaller than the image over a power of two; larger with much of it."""
    if not isinstance(output, Tensor) or output.ndim != 4:
        return None
    _, a, b, c = output.shape
    for side, other, channels, channels_behind in ((b, c, a, False), (a, b, c, True)):
        if side == other and side > 1:
            stride = 2 ** round(math.log2(size_px / side))
            if 0.8 < size_px / side / stride < 1.27:
                return Level(int(stride), name, channels, channels_behind)
    return None


def chosen_levels(levels: Sequence[Level], strides: Sequence[int] | None, finest_stride: int = 4) -> list[Level]:
    """Those with these strides, None: from `finest_stride` on. Raises ConfigError, with what there is, for others."""
    if strides is None:
        return [level for level in levels if level.stride >= finest_stride]
    known = [level.stride for level in levels]
    if not strides or set(strides) - set(known):
        raise ConfigError(f"head.strides={list(strides)}: this network has {known}. Give some of these, or null (all).")
    return [level for level in levels if level.stride in strides]


def level_body(net: nn.Module, levels: Mapping[str, Level]) -> fx.GraphModule:
    """A classifier up to the last of these levels, which gives their maps by name.

    The names in its state dict are the classifier's.
    """
    if isinstance(net, SqueezeNet):
        # The one network with a first convolution without padding; its maps are then image / stride.
        net.features[0].padding = (1, 1)
    extract = import_module("timm.layers").create_feature_extractor if is_of_timm(net) else create_feature_extractor
    both = extract(net, {level.name: name for name, level in levels.items()})
    # One graph for training and inference, since the layers themselves know their mode; the pair of graphs would be in
    # training mode once copied.
    return fx.GraphModule(both, both.eval_graph)


def in_front(maps: Mapping[str, Tensor], behind: Sequence[bool]) -> Iterator[tuple[str, Tensor]]:
    """Maps [B, C, h, w] by name; of some the channels come last."""
    for (name, one), last in zip(maps.items(), behind, strict=True):
        yield name, one.permute(0, 3, 1, 2) if last else one


class FeaturePyramid(nn.Module):
    """The body of a classifier up to its last level, and a feature pyramid over its levels (Lin et al. 2017).

    One more level, at twice the coarsest stride, takes every other place of the coarsest map (arXiv 1612.03144).
    The names in the body's state dict are the classifier's. `out_channels` and the names of the maps ("0", "1", ...,
    "pool") are as torchvision's detectors want them. `only_size_px`: the side of the squares that a network of one
    size takes. Images must be padded to a multiple of `size_divisible`.
    """

    def __init__(self, net: nn.Module, levels: Sequence[Level], channels: int, only_size_px: int | None = None) -> None:
        super().__init__()
        if channels % GROUPS:
            raise ConfigError(f"head.channels={channels} must be a multiple of {GROUPS}.")
        self.body = level_body(net, {str(i): level for i, level in enumerate(levels)})
        self.behind = [level.channels_behind for level in levels]
        self.fpn = FeaturePyramidNetwork(
            [level.channels for level in levels], channels, LastLevelMaxPool(), norm_layer=group_norm
        )
        self.out_channels = channels
        self.strides = [*(level.stride for level in levels), 2 * levels[-1].stride]
        # With a multiple of the coarsest stride each map is image / stride, which torchvision's anchors count on.
        self.size_divisible = only_size_px or max(32, self.strides[-1])

    def forward(self, images_BCHW: Tensor) -> "OrderedDict[str, Tensor]":
        """Maps float [B, out_channels, h, w], the finest first, of normalised images float [B, 3, H, W]."""
        pyramid: OrderedDict[str, Tensor] = self.fpn(OrderedDict(in_front(self.body(images_BCHW), self.behind)))
        return pyramid


def group_norm(channels: int) -> nn.Module:
    """What a pyramid and its heads normalise with: it does not depend on the number of images."""
    return nn.GroupNorm(GROUPS, channels)
