"""timm's classifiers by name: found in timm's own list, built, given weights. Only here is timm imported.

A name is looked up in timm's list and nowhere else: timm itself would also take addresses of hubs and paths, whose
files choose what is built.
"""

import importlib
import math
from typing import Any, cast

from torch import nn

from src.models.on_meta import run_on_meta
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError, did_you_mean, first_line
from src.settings.timm_names import PREFIX, WITHOUT, architecture_of, is_timm, tag_of

_MODES = {"center": "crop", "squash": "stretch", "border": "fit"}  # timm's crop_mode
_USUAL_MIN_PX = 32
_OF_TOKENS = ("head.proj",)  # of CLIP's ResNets: computed for every place, of which one is taken


def require_known(name: str) -> None:
    """Raise ConfigError if timm is missing, or has no such network or weights, or the network has several heads."""
    registry = timm_models(name)
    if not is_timm(name) or not registry.is_model(architecture_of(name)):
        near = did_you_mean(architecture_of(name), registry.list_models(), PREFIX)
        raise ConfigError(f"backbone.name='{name}' is no network of the installed timm.{near}")
    tags = sorted(key.partition(".")[2] for key in registry.get_arch_pretrained_cfgs(architecture_of(name)))
    if tag_of(name) and tag_of(name) not in tags:
        near = did_you_mean(tag_of(name), tags, f"{PREFIX}{architecture_of(name)}.")
        raise ConfigError(
            f"backbone.name='{name}': timm has no weights '{tag_of(name)}' of {architecture_of(name)}.{near} "
            f"There are: {', '.join(tag for tag in tags if tag) or 'none'}."
        )
    head = config_of(name).classifier
    if not isinstance(head, str) or head in _OF_TOKENS:
        what = "a head that is a part of its pooling" if isinstance(head, str) else "several heads, or none"
        raise ConfigError(
            f"backbone.name='{name}' has {what}, which cannot be replaced here: take another network "
            "(docs/fine_tuning.md lists these)."
        )


def timm_models(name: str) -> Any:
    """timm.models, or ConfigError without timm."""
    try:
        return importlib.import_module("timm.models")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ConfigError(WITHOUT.format(name)) from error


def config_of(name: str) -> Any:
    """timm's `pretrained_cfg` of these weights: where they are, and how images are prepared for them."""
    return timm_models(name).get_pretrained_cfg(name.removeprefix(PREFIX), allow_unregistered=False)


def timm_preprocessing(name: str) -> Preprocessing:
    """As timm evaluates these weights. Networks for images that are not square get squares of the shorter side."""
    config = config_of(name)
    crop_px = min(config.input_size[1:])
    return Preprocessing(
        resize_px=max(crop_px, math.floor(crop_px / config.crop_pct)),
        crop_px=crop_px,
        interpolation=config.interpolation,
        mean=tuple(config.mean),
        std=tuple(config.std),
        resize_mode=_MODES[config.crop_mode],
    )


def new_timm_network(name: str, image_size_px: int, drop_path: float | None = None) -> nn.Module:
    """With random weights and the head of its pretrained classes, or of one class where the weights have none.

    `drop_path`: probability with which the last residual block is left out in training. Raises ConfigError if the
    network takes no such images, or has no such blocks.
    """
    return created(name, image_size_px, drop_path, pretrained=False)


def created(name: str, image_size_px: int, drop_path: float | None, pretrained: bool) -> nn.Module:
    """As `new_timm_network`, or with timm's own weights, which it downloads."""
    config = config_of(name)
    arguments: dict[str, Any] = {"num_classes": config.num_classes or 1}
    if config.fixed_input_size:
        arguments["img_size"] = image_size_px
    if drop_path is not None:
        arguments["drop_path_rate"] = drop_path
    try:
        net = timm_models(name).create_model(name.removeprefix(PREFIX), pretrained=pretrained, **arguments)
    except TypeError as error:
        if drop_path is None:
            raise
        raise ConfigError(
            f"backbone.stochastic_depth={drop_path:g}: timm has no residual blocks to drop in {name}: leave it null."
        ) from error
    except (AssertionError, ValueError) as error:
        raise ConfigError(f"data.image_size_px={image_size_px} does not fit {name}: {first_line(error)}.") from error
    return cast(nn.Module, net)


def timm_head_name(net: nn.Module) -> str:
    """Dotted name of the last affine layer, as timm says it."""
    name = str(cast(Any, net).pretrained_cfg["classifier"])
    if not isinstance(net.get_submodule(name), nn.Linear | nn.Conv2d):
        raise ConfigError(f"{type(net).__name__} of timm has a head of another kind, which cannot be adapted here.")
    return name


def is_of_timm(net: nn.Module) -> bool:
    """Whether timm built it: it then says of itself where its head and its layers are."""
    return hasattr(net, "pretrained_cfg")


def min_size_px(name: str) -> int:
    """Of images; networks that take one size only are asked when they are built."""
    return int((config_of(name).min_input_size or (3, _USUAL_MIN_PX))[1])


def check_size(net: nn.Module, name: str, image_size_px: int) -> None:
    """Raise ConfigError if the network cannot compute images of another size than its pretraining's.

    Computed on torch's meta device, shapes alone. Networks that this cannot tell of pass. Patches that do not fill the
    image would leave out its edge.
    """
    if image_size_px == config_of(name).input_size[1] == config_of(name).input_size[2]:
        return
    patch = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and image_size_px % patch[0]:
        raise ConfigError(
            f"data.image_size_px={image_size_px} does not fit {name}: it must be a multiple of {patch[0]}."
        )
    try:
        run_on_meta(net, image_size_px)
    except NotImplementedError:
        pass
    except (AssertionError, RuntimeError, ValueError) as error:
        if "meta" not in str(error):
            own = config_of(name).input_size[1]
            raise ConfigError(
                f"data.image_size_px={image_size_px} does not fit {name} ({first_line(error)}); its own size is {own}."
            ) from error
