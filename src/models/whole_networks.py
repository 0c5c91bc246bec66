"""torchvision's networks that bring a head of their own for what is where: detectors and segmenters, by name."""

from functools import cache
from typing import Any

import torch
from torch import nn
from torchvision import models

_WITH_MASKS, _WITH_POINTS = "maskrcnn", "keypointrcnn"
USUAL_ASPECT = 4 / 3  # of the images of COCO
_CLASSES = {"detection": 91, "segmentation": 21}  # of torchvision's files, the background included


@cache
def detector_names() -> list[str]:
    """Of those that find boxes alone. The settings know the same list without importing torch; a test compares."""
    others = _WITH_MASKS, _WITH_POINTS
    return [name for name in models.list_models(module=models.detection) if not name.startswith(others)]


@cache
def mask_detector_names() -> list[str]:
    """Of those that find boxes with masks; likewise."""
    return [name for name in models.list_models(module=models.detection) if name.startswith(_WITH_MASKS)]


@cache
def segmenter_names() -> list[str]:
    """Of those that say a class for each pixel; likewise."""
    return list(models.list_models(module=models.segmentation))


@cache
def whole_names() -> list[str]:
    return [*detector_names(), *mask_detector_names(), *segmenter_names()]


def new_whole(name: str, num_classes: int | None = None) -> nn.Module:
    """The named network with random weights for so many classes, the background included; None = as torchvision's.

    Always with BatchNorm, whatever the weights will be, and with the layers that those files fit.
    """
    pixels = name in segmenter_names()
    arguments: dict[str, Any] = {}
    if pixels and not name.startswith("lraspp"):
        arguments["aux_loss"] = True
    classes = num_classes or _CLASSES["segmentation" if pixels else "detection"]
    net: nn.Module = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes, **arguments)
    return net


@cache
def class_dependent(name: str) -> list[str]:
    """Names of the entries of the state dict whose shape depends on the number of classes: of the predictors."""
    with torch.device("meta"):
        one, other = new_whole(name, 2).state_dict(), new_whole(name, 3).state_dict()
    return [key for key, value in one.items() if value.shape != other[key].shape]


def with_own_classes(net: nn.Module, name: str, num_classes: int) -> tuple[nn.Module, list[str]]:
    """A whole network for so many classes, with everything else of `net`; and the names of what is new in it."""
    new, replaced = new_whole(name, num_classes), class_dependent(name)
    kept = {key: value for key, value in net.state_dict().items() if key not in replaced}
    new.load_state_dict(kept, strict=False)
    return new, list(dict.fromkeys(key.rpartition(".")[0] for key in replaced))
