"""torchvision's whole detectors by name: built for any classes, with everything that does not depend on the classes."""

from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from src.models.detection_heads import NewDetector, Norms
from src.models.norms import freeze_norms
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError

# The COCO_V1 weights of these were trained with eps=0 in the body's FrozenBatchNorm, which their files do not say;
# torchvision's constructors set it after loading.
_TRAINED_WITHOUT_EPS = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
_EPS = 1e-5  # of BatchNorm and FrozenBatchNorm where nothing else is said
_OTHER_TASKS = ("maskrcnn", "keypointrcnn")
_USUAL_ASPECT = 4 / 3  # of the images of COCO


@cache
def detector_names() -> list[str]:
    """Of those that find boxes alone. The settings know the same list without importing torch; a test compares."""
    return [name for name in models.list_models(module=models.detection) if not name.startswith(_OTHER_TASKS)]


def new_detector(name: str, num_classes: int = 91) -> nn.Module:
    """The named detector with random weights for so many classes, the background included; COCO's files have 91.

    Always with BatchNorm, whatever the weights will be, and with the layers that COCO's files fit.
    """
    net: nn.Module = models.get_model(name, weights=None, weights_backbone=None, num_classes=num_classes)
    return net


@cache
def class_dependent(name: str) -> list[str]:
    """Names of the entries of the state dict whose shape depends on the number of classes: of the predictors."""
    with torch.device("meta"):
        one, other = new_detector(name, 2).state_dict(), new_detector(name, 3).state_dict()
    return [key for key, value in one.items() if value.shape != other[key].shape]


def detector_preprocessing(name: str) -> Preprocessing:
    """What the COCO weights were trained on.

    torchvision scales the shorter side to 800 pixels, of mobilenet_320 to 320; `fit` scales the longer one, here to
    what it becomes in images of 4:3. SSD's images are squeezed into a square.
    """
    with torch.device("meta"):
        transform = cast(GeneralizedRCNNTransform, new_detector(name, 2).transform)
    fixed = transform.fixed_size
    size_px = fixed[0] if fixed else round(transform.min_size[-1] * _USUAL_ASPECT)
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
    new, replaced = new_detector(name, num_classes + 1), class_dependent(name)
    kept = {key: value for key, value in net.state_dict().items() if key not in replaced}
    new.load_state_dict(kept, strict=False)
    if norms == "frozen":
        freeze_norms(new)
    head_names = list(dict.fromkeys(key.rpartition(".")[0] for key in replaced))
    transform = cast(GeneralizedRCNNTransform, new.transform)
    # SSD's maps and boxes are laid out for squares of one size, and fit multiples of it.
    size_divisible = transform.fixed_size[0] if transform.fixed_size else transform.size_divisible
    return NewDetector(new, head_names, size_divisible)
