"""Pretrained weights of networks and their preprocessing. Shapes: C channels, S classes of the weights."""

import logging
from pathlib import Path
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum

from src.models.catalogue import (
    TRAINED_WITH_HALF,
    check_image_size,
    classifier_names,
    find_head,
    new_network,
    set_stochastic_depth,
)
from src.models.loading import load_pretrained, needed_names
from src.models.preprocessing import Preprocessing
from src.models.timm_networks import check_size, new_timm_network, require_known, timm_preprocessing
from src.models.timm_weights import TimmWeights, as_installed, downloaded, require_classes
from src.models.torchvision_detectors import detector_preprocessing, with_eps_in_variances
from src.models.torchvision_segmenters import segmenter_preprocessing
from src.models.weight_names import current_names, without_prefix
from src.models.weights_file import existing_file, read_state_dict
from src.models.whole_networks import (
    class_dependent,
    detector_names,
    mask_detector_names,
    new_whole,
    segmenter_names,
    whole_names,
)
from src.settings.errors import ConfigError
from src.settings.project import PROJECT_ROOT
from src.settings.timm_names import PREFIX, is_timm

log = logging.getLogger(__name__)

Weights: TypeAlias = WeightsEnum | TimmWeights | Path | None


def find_weights(name: str, weights: str | None) -> Weights:
    """What `backbone.weights` means: torchvision's or timm's own, an existing file, or None for random weights.

    A run stands for its best checkpoint. Relative paths are looked for in the working directory, then in the project.
    Raises ConfigError, naming what is allowed.
    """
    if name.startswith(PREFIX):
        require_known(name)
    elif name not in (*classifier_names(), *whole_names()):
        raise ConfigError(
            f"backbone.name='{name}' is no classifier, detector or segmenter of torchvision. "
            "python -m src.train --help lists them."
        )
    if weights is None:
        return None
    own = {"DEFAULT": TimmWeights(name)} if is_timm(name) else models.get_model_weights(name).__members__
    if weights in own:
        return cast(Weights, own[weights])
    if (file := existing_file(weights, (Path.cwd(), PROJECT_ROOT))) is not None:
        return file
    if not Path(weights).suffix and Path(weights).name == weights:
        members = ", ".join(own)  # DEFAULT is one of them
        other = " Other weights of timm's stand in the name: backbone=timm/resnet50.a1_in1k." if is_timm(name) else ""
        raise ConfigError(
            f"backbone.weights='{weights}' is unknown for {name}. Allowed: {members}, null (random), "
            f"the path of a run, or that of a .pth, .pt, .bin, .ckpt or .safetensors file.{other}"
        )
    raise ConfigError(f"backbone.weights='{weights}' does not exist (looked in {Path.cwd()}).")


def downloaded_from(weights: WeightsEnum) -> tuple[str, Path]:
    """The address of torchvision's own weights, and the file that they are or would be in."""
    return weights.url, Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]


def preprocessing_of(name: str, weights: Weights) -> Preprocessing:
    """The evaluation preset of these weights; files and random weights take that of the network's default weights."""
    if is_timm(name):
        return timm_preprocessing(name)
    if name in (*detector_names(), *mask_detector_names()):
        return detector_preprocessing(name)
    if name in segmenter_names():
        return segmenter_preprocessing(name)
    default = models.get_model_weights(name)["DEFAULT"]
    preset = (weights if isinstance(weights, WeightsEnum) else default).transforms()
    half = name in TRAINED_WITH_HALF
    return Preprocessing(
        resize_px=preset.resize_size[0],
        crop_px=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=(0.5, 0.5, 0.5) if half else tuple(preset.mean),
        std=(0.5, 0.5, 0.5) if half else tuple(preset.std),
    )


def build_backbone(name: str, weights: Weights, image_size_px: int, stochastic_depth: float | None = None) -> nn.Module:
    """The named network with its original head, pretrained weights loaded, for square images of `image_size_px`.

    `stochastic_depth` is as in `set_stochastic_depth`. Raises ConfigError if the weights cannot be had or do not fit,
    or if the network cannot take images of this size.
    """
    net = _untrained(name, image_size_px, stochastic_depth)
    if weights is None:
        return net
    left_out = tuple(class_dependent(name)) if name in whole_names() else _replaced_in_classifiers(net)
    state_dict = _pretrained_state_dict(name, weights, image_size_px)
    if isinstance(weights, Path):
        state_dict = without_prefix(state_dict, needed_names(net, left_out), str(weights))
        state_dict = as_installed(name, net, state_dict) if is_timm(name) else state_dict
    load_pretrained(net, state_dict, str(weights), left_out)
    return net


def _untrained(name: str, image_size_px: int, stochastic_depth: float | None) -> nn.Module:
    check_image_size(name, image_size_px)
    if is_timm(name):
        require_known(name)
        net = new_timm_network(name, image_size_px, stochastic_depth)
        check_size(net, name, image_size_px)
        return net
    net = new_whole(name) if name in whole_names() else new_network(name, image_size_px)
    if stochastic_depth is not None:
        set_stochastic_depth(net, name, stochastic_depth)
    return net


def _replaced_in_classifiers(net: nn.Module) -> tuple[str, ...]:
    """How the names begin of what a classifier does not get: the head, and the auxiliary classifiers."""
    return (f"{find_head(net)}.", "aux1.", "aux2.", "AuxLogits.")


def _pretrained_state_dict(
    name: str, weights: WeightsEnum | TimmWeights | Path, image_size_px: int | None = None
) -> dict[str, Tensor]:
    """Of a file, or torchvision's or timm's own from their cache or the network."""
    if isinstance(weights, TimmWeights):
        return downloaded(weights, image_size_px)
    if isinstance(weights, Path):
        return with_eps_in_variances(name, read_state_dict(weights), weights.name)
    _, file = downloaded_from(weights)
    if not file.exists():
        log.info("Downloading the weights of %s: %s", name, weights.url)
    try:
        return with_eps_in_variances(
            name, current_names(weights.get_state_dict(progress=True, check_hash=True)), file.name
        )
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"backbone.weights={weights.name}: the weights of {name} could not be downloaded ({error}). Either\n"
            f"  - download {weights.url} elsewhere and put it at {file}, or\n"
            f"  - give a file: backbone.weights=<path of a .pth or .safetensors state dict>, or\n"
            "  - train from random weights: backbone.weights=null, or\n"
            "  - use backbone=squeezenet1_1, whose weights are in this repository."
        ) from error


def pretrained_head(name: str, weights: WeightsEnum | TimmWeights | Path, head_name: str) -> nn.Linear:
    """The last layer of these weights, from the head's inputs [B, C] to their classes. Raises ConfigError if none."""
    if isinstance(weights, TimmWeights):
        require_classes(weights.name)
    state_dict = _pretrained_state_dict(name, weights)
    if isinstance(weights, Path):
        state_dict = without_prefix(state_dict, [f"{head_name}.weight", f"{head_name}.bias"], str(weights))
    weight = state_dict.get(f"{head_name}.weight")
    if weight is None:
        raise ConfigError(
            f"head.start=pretrained: backbone.weights='{weights}' has no '{head_name}.weight': the file's head is "
            "missing, or more than one layer. Use head.start=small."
        )
    weight_SC = weight.flatten(1).float()  # SqueezeNet's is a 1x1 convolution
    head = nn.Linear(weight_SC.shape[1], len(weight_SC))
    bias_S = state_dict.get(f"{head_name}.bias", torch.zeros(len(weight_SC)))  # MaxViT has none
    head.load_state_dict({"weight": weight_SC, "bias": bias_S.float()})
    return head.requires_grad_(False)


def categories_of(name: str) -> list[str]:
    """What the classes of the network's default weights are called, in their order; empty where nobody says it."""
    if is_timm(name):  # timm's networks of 1000 classes have those of ImageNet, in torchvision's order
        name = "resnet50"
    return list(models.get_model_weights(name)["DEFAULT"].meta["categories"])
