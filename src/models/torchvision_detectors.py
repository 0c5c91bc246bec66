"""torchvision's whole detectors by name: built for any classes, with everything that does not depend on the classes."""

from typing import cast

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from src.models.detection_heads import NewDetector, Norms
from src.models.norms import freeze_norms
from src.models.preprocessing import Preprocessing
from src.models.whole_networks import USUAL_ASPECT, detector_names, mask_detector_names, new_whole, with_own_classes
from src.settings.errors import ConfigError

# The COCO_V1 weights of these were trained with eps=0 in the body's FrozenBatchNorm, which their files do not say;
# torchvision's constructors set it after loading.
_TRAINED_WITHOUT_EPS = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
_EPS = 1e-5  # of BatchNorm and FrozenBatchNorm where nothing else is said


def detector_preprocessing(name: str) -> Preprocessing:
    """What the COCO weights were trained on.

    torchvision scales the shorter side to 800 pixels, of mobilenet_320 to 320; `fit` scales the longer one, here to
    what it becomes in images of 4:3. SSD's images are squeezed into a square.
    """
    with torch.device("meta"):
        transform = cast(GeneralizedRCNNTransform, new_whole(name, 2).transform)
    fixed = transform.fixed_size
    size_px = fixed[0] if fixed else round(transform.min_size[-1] * USUAL_ASPECT)
    return Preprocessing(
        resize_px=size_px,
        crop_px=size_px,
        interpolation="bilinear",
        mean=tuple(transform.image_mean),
        std=tuple(transform.image_std),
        resize_mode="stretch" if fixed else "fit",
    )


def with_eps_in_variances(name: str, state_dict: dict[str, Tensor], file_name: str) -> dict[str, Tensor]:
    """The weights for networks with the usual eps, of weights that were trained without.

    Variances become smaller by eps, and may be negative; variance + eps, the only use of both, is what it was.
    A checkpoint then fits without knowing what weights the training began with.
    """
    if name not in _TRAINED_WITHOUT_EPS:
        return state_dict
    if file_name != models.get_model_weights(name)["COCO_V1"].url.rsplit("/", 1)[-1]:
        return state_dict
    return {key: value - _EPS if key.endswith("running_var") else value for key, value in state_dict.items()}


def own_head(net: nn.Module, name: str, image_size_px: int, num_classes: int, norms: Norms = "frozen") -> NewDetector:
    """A whole detector as it is; only what depends on the number of classes is new."""
    if name not in detector_names():
        raise ConfigError(
            f"head=torchvision: backbone.name='{name}' is a classifier, and has no head for boxes. Take head=fcos, "
            f"retinanet or faster_rcnn, or a whole detector: backbone={', '.join(detector_names())}."
        )
    return _with_own_classes(net, name, num_classes, norms)


def own_masks(net: nn.Module, name: str, image_size_px: int, num_classes: int, norms: Norms = "frozen") -> NewDetector:
    """A whole detector that has masks too, as it is; likewise."""
    if name not in mask_detector_names():
        raise ConfigError(
            f"head=torchvision_masks: backbone.name='{name}' has no head for masks. Take head=mask_rcnn, or a whole "
            f"detector that has one: backbone={', '.join(mask_detector_names())}."
        )
    return _with_own_classes(net, name, num_classes, norms)


def _with_own_classes(net: nn.Module, name: str, num_classes: int, norms: Norms) -> NewDetector:
    new, head_names = with_own_classes(net, name, num_classes + 1)
    if norms == "frozen":
        freeze_norms(new)
    transform = cast(GeneralizedRCNNTransform, new.transform)
    # SSD's maps and boxes are laid out for squares of one size, and fit multiples of it.
    size_divisible = transform.fixed_size[0] if transform.fixed_size else transform.size_divisible
    return NewDetector(new, head_names, size_divisible)
