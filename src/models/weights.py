"""Pretrained weights of networks and their preprocessing. Shapes: C channels, S classes of the weights."""

import logging
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from src.models.catalogue import TRAINED_WITH_HALF, check_image_size, classifier_names, find_head, new_network
from src.models.preprocessing import Preprocessing
from src.models.torchvision_detectors import detector_preprocessing, with_eps_in_variances
from src.models.torchvision_segmenters import segmenter_preprocessing
from src.models.weight_names import current_names, fitting_network, without_prefix
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

log = logging.getLogger(__name__)

Weights: TypeAlias = WeightsEnum | Path | None


def find_weights(name: str, weights: str | None) -> Weights:
    """What `backbone.weights` means: a member of torchvision's enum, an existing file, or None for random weights.

    A run stands for its best checkpoint. Relative paths are looked for in the working directory, then in the project.
    Raises ConfigError, naming what is allowed.
    """
    if name not in (*classifier_names(), *whole_names()):
        raise ConfigError(
            f"backbone.name='{name}' is no classifier, detector or segmenter of torchvision. "
            "python -m src.train --help lists them."
        )
    if weights is None:
        return None
    enum = models.get_model_weights(name)
    if weights in enum.__members__:
        return cast(WeightsEnum, enum[weights])
    if (file := existing_file(weights, (Path.cwd(), PROJECT_ROOT))) is not None:
        return file
    if not Path(weights).suffix and Path(weights).name == weights:
        members = ", ".join(enum.__members__)  # DEFAULT is one of them
        raise ConfigError(
            f"backbone.weights='{weights}' is unknown for {name}. Allowed: {members}, null (random), "
            "the path of a run, or that of a .pth, .pt, .bin, .ckpt or .safetensors file."
        )
    raise ConfigError(f"backbone.weights='{weights}' does not exist (looked in {Path.cwd()}).")


def downloaded_from(weights: WeightsEnum) -> tuple[str, Path]:
    """The address of torchvision's own weights, and the file that they are or would be in."""
    return weights.url, Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]


def preprocessing_of(name: str, weights: Weights) -> Preprocessing:
    """The evaluation preset of these weights; files and random weights take that of torchvision's default weights."""
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


def build_backbone(name: str, weights: Weights, image_size_px: int) -> nn.Module:
    """The named network with its original head, pretrained weights loaded, for square images of `image_size_px`.

    Raises ConfigError if the weights cannot be had or do not fit, or if the network cannot take images of this size.
    """
    check_image_size(name, image_size_px)
    net = new_whole(name) if name in whole_names() else new_network(name, image_size_px)
    if weights is None:
        return net
    left_out = tuple(class_dependent(name)) if name in whole_names() else _replaced_in_classifiers(net)
    state_dict = _pretrained_state_dict(name, weights)
    if isinstance(weights, Path):
        state_dict = without_prefix(state_dict, _needed_names(net, left_out), str(weights))
    load_pretrained(net, state_dict, str(weights), left_out)
    return net


def _replaced_in_classifiers(net: nn.Module) -> tuple[str, ...]:
    """How the names begin of what a classifier does not get: the head, and the auxiliary classifiers."""
    return (f"{find_head(net)}.", "aux1.", "aux2.", "AuxLogits.")


def _pretrained_state_dict(name: str, weights: WeightsEnum | Path) -> dict[str, Tensor]:
    """Of a file, or torchvision's own from its cache or the network."""
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


def load_pretrained(net: nn.Module, state_dict: dict[str, Tensor], source: str, left_out: tuple[str, ...]) -> None:
    """Load everything but what is replaced afterwards: the entries whose names begin as `left_out` says.

    Position embeddings of vision transformers are interpolated to the network's image size.
    Raises ConfigError if any other key is missing, superfluous or of another shape, or if a loaded value is not finite.
    """
    if isinstance(net, VisionTransformer) and "encoder.pos_embedding" in state_dict:
        state_dict = dict(interpolate_embeddings(net.image_size, net.patch_size, OrderedDict(state_dict)))
    given = {key: value for key, value in state_dict.items() if not key.startswith(left_out)}
    if misfits := _misfits(net, given, left_out):
        near = fitting_network(state_dict, net.state_dict())
        advice = f"\nThese are weights of {near}: backbone={near}, or weights of this network." if near else ""
        raise ConfigError(f"backbone.weights='{source}' does not fit the network {misfits}{advice}")
    net.load_state_dict(with_versions(given, net), strict=False)


def _misfits(net: nn.Module, given: Mapping[str, Tensor], left_out: tuple[str, ...]) -> str:
    """What is wrong with these weights, one line for each kind of mistake; empty if nothing is."""
    own = {key: value for key, value in net.state_dict().items() if not key.startswith(left_out)}
    problems = {
        "missing": [key for key in _needed_names(net, left_out) if key not in given],
        "superfluous": [key for key in given if key not in own],
        "of another shape": [key for key in own if key in given and own[key].shape != given[key].shape],
        "not finite": [
            key for key, value in given.items() if value.is_floating_point() and not value.float().isfinite().all()
        ],
    }
    lines = [
        f"  {len(keys)} {kind}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}"
        for kind, keys in problems.items()
        if keys
    ]
    return "\n".join([f"({len(own)} entries besides the head):", *lines]) if lines else ""


def with_versions(state_dict: Mapping[str, Tensor], module: nn.Module) -> "OrderedDict[str, Tensor]":
    """The state dict as the module itself would write it, for `load_state_dict`.

    Without the version numbers in `_metadata`, a private attribute of torch's state dicts, MNASNet takes weights for
    those of 2019 and rebuilds its first layers.
    """
    versioned = OrderedDict(state_dict)
    versioned._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    return versioned


def _needed_names(net: nn.Module, left_out: tuple[str, ...]) -> list[str]:
    """Names of the weights that a file must have.

    Old files and those of FrozenBatchNorm lack BatchNorm's batch counter, which only averaging without momentum reads.
    """
    return [key for key in net.state_dict() if not key.startswith(left_out) and not key.endswith("num_batches_tracked")]


def pretrained_head(name: str, weights: WeightsEnum | Path, head_name: str) -> nn.Linear:
    """The last layer of these weights, from the head's inputs [B, C] to their classes. Raises ConfigError if none."""
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
