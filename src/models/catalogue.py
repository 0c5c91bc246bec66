"""torchvision's networks by name: which there are, what each takes, how it is built, and where its head is."""

from typing import Any, cast

from torch import nn
from torchvision import models
from torchvision.ops import StochasticDepth

from src.models.timm_networks import config_of, is_of_timm, min_size_px, new_timm_network, timm_head_name
from src.settings.errors import ConfigError
from src.settings.timm_names import is_timm

# GoogLeNet and Inception v3 were trained with mean and std 0.5; torchvision converts from ImageNet's inside the network
# (transform_input). Here the conversion is switched off and the preprocessing says 0.5, which is the same.
TRAINED_WITH_HALF = ("googlenet", "inception_v3")


def classifier_names() -> list[str]:
    """Of all classifiers. The settings know the same list without importing torch; a test compares the two."""
    return list(models.list_models(module=models))


def is_classifier(name: str) -> bool:
    """Whether it is a network of torchvision's or timm's whose head says something of the whole image."""
    return is_timm(name) or name in classifier_names()


def new_network(name: str, image_size_px: int) -> nn.Module:
    """The named network with random weights and its original head, for square images of `image_size_px`.

    The auxiliary classifiers of GoogLeNet and Inception v3 are left out: they served to train those networks from
    scratch, GoogLeNet's are not pretrained, and without them train and eval mode return the same.
    """
    if is_timm(name):
        return new_timm_network(name, image_size_px)
    arguments: dict[str, Any] = {}
    if name.startswith("vit_"):
        arguments["image_size"] = image_size_px
    elif name == "maxvit_t":
        arguments["input_size"] = (image_size_px, image_size_px)
    elif name in TRAINED_WITH_HALF:
        arguments.update(aux_logits=False, init_weights=True)
    return cast(nn.Module, models.get_model(name, weights=None, **arguments))


def find_head(net: nn.Module) -> str:
    """Dotted name of the last nn.Linear, or, where there is none (SqueezeNet), of the last convolution.

    Of timm's networks it is what they say.
    """
    if is_of_timm(net):
        return timm_head_name(net)
    for kind in (nn.Linear, nn.Conv2d):
        names = [name for name, module in net.named_modules() if isinstance(module, kind)]
        if names:
            return str(names[-1])
    raise ValueError(f"{type(net).__name__} has no linear or convolutional layer to replace")


def set_stochastic_depth(net: nn.Module, name: str, probability: float) -> None:
    """Drop the last residual block with this probability in training, earlier ones less, in torchvision's proportions.

    Huang et al. 2016, arXiv 1603.09382. Raises ConfigError if the network has no such blocks. timm's networks are built
    with them.
    """
    blocks = [module for module in net.modules() if isinstance(module, StochasticDepth)]
    highest = max((block.p for block in blocks), default=0.0)
    if not highest:
        raise ConfigError(
            f"backbone.stochastic_depth={probability:g}: {name} has no residual blocks that torchvision can drop "
            "(EfficientNet, ConvNeXt, Swin and MaxViT have): leave it null."
        )
    for block in blocks:
        block.p *= probability / highest


def check_image_size(name: str, image_size_px: int, setting: str = "data.image_size_px") -> None:
    """Raise ConfigError, which names the setting, if the network cannot take square images of this size."""
    if is_timm(name):
        low, multiple = min_size_px(name), 1
    else:
        low, multiple = models.get_model_weights(name)["DEFAULT"].meta["min_size"][0], 1
    if name.startswith("vit_"):
        low = multiple = int(name.rsplit("_", 1)[1])  # vit_b_16: patches of 16 pixels
    elif name == "maxvit_t":
        low = multiple = 224  # four halvings to 7 x 7, the window that attention needs
    elif name.startswith("swin"):
        low = 32  # other sizes than those of the pretraining are padded
    if image_size_px < low or image_size_px % multiple:
        rule = f"a multiple of {multiple}" if multiple > 1 else f"at least {low}"
        raise ConfigError(f"{setting}={image_size_px} does not fit {name}: it must be {rule}.")


def takes_one_size(name: str) -> bool:
    """Whether the network, once built, takes square images of one size only."""
    return bool(config_of(name).fixed_input_size) if is_timm(name) else name.startswith("vit_") or name == "maxvit_t"


def check_training_size(name: str, crop_px: int, image_size_px: int) -> None:
    """Raise ConfigError if the network cannot train on images of `crop_px` and evaluate those of `image_size_px`."""
    if takes_one_size(name) and crop_px != image_size_px:
        raise ConfigError(
            f"augment.crop_px={crop_px}: {name} takes images of one size only, {image_size_px} here: leave it null."
        )
    check_image_size(name, crop_px, "augment.crop_px")
