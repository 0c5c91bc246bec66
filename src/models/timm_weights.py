"""Pretrained weights of timm's networks: of timm's hub or its cache, and files with names that timm knows."""

import importlib
import logging
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from torch import Tensor, nn

from src.models.timm_networks import config_of, created, timm_models
from src.settings.errors import ConfigError, first_line
from src.settings.timm_names import architecture_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TimmWeights:
    """The pretrained weights that timm has by this name."""

    name: str

    def __str__(self) -> str:
        return f"{self.name} (timm)"


def downloaded(weights: TimmWeights, image_size_px: int | None = None) -> dict[str, Tensor]:
    """The state dict of timm's pretrained weights, for a network of this image size; None: their own.

    Raises ConfigError if they cannot be had.
    """
    config = config_of(weights.name)
    if not config.has_weights:
        raise ConfigError(
            f"backbone.weights=DEFAULT: timm has no pretrained weights of {weights.name}. Give "
            "backbone.weights=<file>, backbone.weights=null (random), or another network."
        )
    place = f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else str(config.url)
    log.info("Loading the weights of %s, of the hub's cache or from %s", weights.name, place)
    try:
        _require_reachable(config, place)
        return created(weights.name, image_size_px or min(config.input_size[1:]), None, pretrained=True).state_dict()
    except ConfigError:
        raise
    except Exception as error:  # of whatever library timm downloads with
        raise ConfigError(
            f"backbone.weights=DEFAULT: the weights of {weights.name} could not be downloaded from {place} "
            f"({first_line(error)}). Either\n"
            f"  - download them elsewhere: hf download {config.hf_hub_id} there, and copy its folder in "
            "~/.cache/huggingface/hub (HF_HUB_CACHE) to this machine, or\n"
            "  - give a file: backbone.weights=<path of a .safetensors or .pth state dict>, or\n"
            "  - train from random weights: backbone.weights=null, or\n"
            "  - use backbone=squeezenet1_1, whose weights are in this repository."
        ) from error


def _require_reachable(config: Any, place: str) -> None:
    """Raise OSError at once if the weights are not kept here and their server has no address: the hub tries 50 s."""
    hub = importlib.import_module("huggingface_hub")
    files = ("model.safetensors", "pytorch_model.bin", config.hf_hub_filename)
    kept = config.hf_hub_id and any(
        isinstance(hub.try_to_load_from_cache(config.hf_hub_id, file), str) for file in files if file
    )
    if not kept and not getproxies():
        endpoint = hub.constants.ENDPOINT if config.hf_hub_id else place
        socket.getaddrinfo(urlsplit(endpoint).hostname, 443)


def as_installed(name: str, net: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file by the names that this version of timm has, for images of the network's size.

    timm converts its older files, those of the papers, and embeddings of position, in a function of each module.
    """
    module = importlib.import_module(timm_models(name).model_entrypoint(architecture_of(name)).__module__)
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None:
        return state_dict
    try:
        return dict(convert(state_dict, net))
    except Exception as error:  # of files that have other names than it expects; what does not fit is told later
        log.debug("timm cannot convert these weights: %s", error)
        return state_dict


def require_classes(name: str) -> None:
    """Raise ConfigError if these weights come without classes: those of CLIP, DINO and the like."""
    if not config_of(name).num_classes:
        raise ConfigError(f"head.start=pretrained: the weights of {name} have no classes: use head.start=small.")
