"""Pretrained torchvision classifiers: their weights, the preprocessing that belongs to them, and a new head.

Shapes: B images, C channels, H and W pixels, K classes.
"""

import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings
from torchvision.ops import StochasticDepth

from src.models.heads import HeadFactory
from src.models.preprocessing import Preprocessing
from src.models.weight_names import current_names, fitting_network, without_prefix
from src.models.weights_file import existing_file, read_state_dict
from src.settings.errors import ConfigError
from src.settings.project import PROJECT_ROOT

log = logging.getLogger(__name__)

Weights: TypeAlias = WeightsEnum | Path | None

# GoogLeNet and Inception v3 were trained with mean and std 0.5; torchvision converts from ImageNet's inside the network
# (transform_input). Here the conversion is switched off and the preprocessing says 0.5, which is the same.
TRAINED_WITH_HALF = ("googlenet", "inception_v3")


class StopForward(Exception):
    """Ends a forward pass of which only a part is wanted."""


class ImageClassifier(nn.Module):
    """A torchvision network with a new head, which normalises its uint8 input itself.

    Args:
        net: from `build_backbone` and `replace_head`.
        head_name: dotted name of the head inside `net`.
        preprocessing: mean and std of the network's input.
        channels_last: compute in the channels-last memory layout.
    """

    scale_1C11: Tensor
    shift_1C11: Tensor

    def __init__(self, net: nn.Module, head_name: str, preprocessing: Preprocessing, channels_last: bool) -> None:
        super().__init__()
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(memory_format=memory_format)
        self.head_name = head_name
        self.memory_format = memory_format
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale_1C11", (1 / (255 * std)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift_1C11", (-mean / std).view(1, 3, 1, 1), persistent=False)

    @property
    def head(self) -> nn.Module:
        return self.net.get_submodule(self.head_name)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, K] of RGB images uint8 [B, 3, H, W]."""
        images_BCHW = images_BCHW.to(self.scale_1C11.dtype).contiguous(memory_format=self.memory_format)
        logits_BK: Tensor = self.net(self.normalise(images_BCHW))
        return logits_BK

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        images_BCHW = images_BCHW.to(self.scale_1C11.dtype).contiguous(memory_format=self.memory_format)
        return images_BCHW * self.scale_1C11 + self.shift_1C11

    def features(self, images_BCHW: Tensor) -> Tensor:
        """What the head gets of RGB images uint8 [B, 3, H, W]: vectors [B, C] or maps [B, C, H', W'].

        Maps are averaged to [B, C, 1, 1] where the head is one affine layer and its outputs are averaged anyway.
        """
        seen: list[Tensor] = []

        def keep(_: nn.Module, inputs: tuple[Tensor]) -> None:
            seen.append(inputs[0])
            raise StopForward

        hook = self.head.register_forward_pre_hook(keep)
        try:
            self.net(self.normalise(images_BCHW))
        except StopForward:
            pass
        finally:
            hook.remove()
        averaged = any(isinstance(module, nn.AdaptiveAvgPool2d) for module in self.behind_head)
        if averaged and isinstance(self.head, nn.Conv2d):
            return seen[0].float().mean(dim=(2, 3), keepdim=True)
        return seen[0]

    def classify(self, features: Tensor) -> Tensor:
        """Logits [B, K] of what `features` returned."""
        outputs = self.head(features)
        for module in self.behind_head:
            outputs = module(outputs)
        return cast(Tensor, outputs.flatten(1))

    def outputs_and_embeddings(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and what the head got to see, [B, C], of RGB images uint8 [B, 3, H, W]; maps are averaged."""
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            logits_BK = self(images_BCHW)
        finally:
            hook.remove()
        return logits_BK, pooled(seen[0])

    @property
    def behind_head(self) -> list[nn.Module]:
        """What torchvision's networks do with the head's outputs, besides flattening them: pooling in SqueezeNet's."""
        parent_name, _, own_name = self.head_name.rpartition(".")
        siblings = list(self.net.get_submodule(parent_name).named_children())
        return [module for _, module in siblings[[name for name, _ in siblings].index(own_name) + 1 :]]


def pooled(features: Tensor) -> Tensor:
    """[B, C] of what a head gets: vectors [B, C], or maps [B, C, H, W], which are averaged."""
    return features.flatten(2).mean(dim=2) if features.ndim == 4 else features


# --------------------------------------------------------------------------------------------- weights, preprocessing


def find_weights(name: str, weights: str | None) -> Weights:
    """What `backbone.weights` means: a member of torchvision's enum, an existing file, or None for random weights.

    A run stands for its best checkpoint. Relative paths are looked for in the working directory, then in the project.
    Raises ConfigError, naming what is allowed.
    """
    if name not in models.list_models(module=models):
        raise ConfigError(
            f"backbone.name='{name}' is not a torchvision classifier. python -m src.train --help lists them."
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


def preprocessing_of(name: str, weights: Weights) -> Preprocessing:
    """The evaluation preset of these weights; files and random weights take that of torchvision's default weights."""
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


# ------------------------------------------------------------------------------------------------------------ networks


def build_backbone(name: str, weights: Weights, image_size_px: int) -> nn.Module:
    """The named network with its original head, pretrained weights loaded, for square images of `image_size_px`.

    The auxiliary classifiers of GoogLeNet and Inception v3 are dropped: they served to train those networks from
    scratch, GoogLeNet's are not pretrained, and without them train and eval mode return the same.
    Raises ConfigError if the weights cannot be had or do not fit, or if the network cannot take images of this size.
    """
    check_image_size(name, image_size_px)
    if weights is None:
        return new_network(name, image_size_px)
    state_dict = pretrained_state_dict(name, weights)
    net = new_network(name, image_size_px)
    if isinstance(weights, Path):
        state_dict = without_prefix(state_dict, body_names(net), str(weights))
    load_pretrained(net, state_dict, source=str(weights))
    return net


def new_network(name: str, image_size_px: int) -> nn.Module:
    arguments: dict[str, Any] = {}
    if name.startswith("vit_"):
        arguments["image_size"] = image_size_px
    elif name == "maxvit_t":
        arguments["input_size"] = (image_size_px, image_size_px)
    elif name in TRAINED_WITH_HALF:
        arguments.update(aux_logits=False, init_weights=True)
    return cast(nn.Module, models.get_model(name, weights=None, **arguments))


def set_stochastic_depth(net: nn.Module, name: str, probability: float) -> None:
    """Drop the last residual block with this probability in training, earlier ones less, in torchvision's proportions.

    Huang et al. 2016, arXiv 1603.09382. Raises ConfigError if the network has no such blocks.
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


def check_image_size(name: str, image_size_px: int) -> None:
    """Raise ConfigError if the network cannot take square images of this size."""
    low, multiple = models.get_model_weights(name)["DEFAULT"].meta["min_size"][0], 1
    if name.startswith("vit_"):
        low = multiple = int(name.rsplit("_", 1)[1])  # vit_b_16: patches of 16 pixels
    elif name == "maxvit_t":
        low = multiple = 224  # four halvings to 7 x 7, the window that attention needs
    elif name.startswith("swin"):
        low = 32  # other sizes than those of the pretraining are padded
    if image_size_px < low or image_size_px % multiple:
        rule = f"a multiple of {multiple}" if multiple > 1 else f"at least {low}"
        raise ConfigError(f"data.image_size_px={image_size_px} does not fit {name}: it must be {rule}.")


def check_training_size(name: str, crop_px: int, image_size_px: int) -> None:
    """Raise ConfigError if the network cannot train on images of `crop_px` and evaluate those of `image_size_px`."""
    if (name.startswith("vit_") or name == "maxvit_t") and crop_px != image_size_px:
        raise ConfigError(
            f"augment.crop_px={crop_px}: {name} takes images of one size only, {image_size_px} here: leave it null."
        )
    try:
        check_image_size(name, crop_px)
    except ConfigError as error:
        raise ConfigError(str(error).replace("data.image_size_px", "augment.crop_px")) from error


def pretrained_state_dict(name: str, weights: WeightsEnum | Path) -> dict[str, Tensor]:
    return download(name, weights) if isinstance(weights, WeightsEnum) else read_state_dict(weights)


def download(name: str, weights: WeightsEnum) -> dict[str, Tensor]:
    """torchvision's own weights, from its cache or the network."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    if not file.exists():
        log.info("Downloading the weights of %s: %s", name, weights.url)
    try:
        return current_names(weights.get_state_dict(progress=True, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"backbone.weights={weights.name}: the weights of {name} could not be downloaded ({error}). Either\n"
            f"  - download {weights.url} elsewhere and put it at {file}, or\n"
            f"  - give a file: backbone.weights=<path of a .pth or .safetensors state dict>, or\n"
            "  - train from random weights: backbone.weights=null, or\n"
            "  - use backbone=squeezenet1_1, whose weights are in this repository."
        ) from error


def load_pretrained(net: nn.Module, state_dict: dict[str, Tensor], source: str) -> None:
    """Load everything but the head, which is replaced afterwards, and the auxiliary classifiers, which are dropped.

    Position embeddings of vision transformers are interpolated to the network's image size.
    Raises ConfigError if any other key is missing, superfluous or of another shape, or if a loaded value is not finite.
    """
    head = f"{find_head(net)}."
    if isinstance(net, VisionTransformer) and "encoder.pos_embedding" in state_dict:
        state_dict = dict(interpolate_embeddings(net.image_size, net.patch_size, OrderedDict(state_dict)))
    own = {key: value for key, value in net.state_dict().items() if not key.startswith(head)}
    dropped = ("aux1.", "aux2.", "AuxLogits.")
    given = {key: value for key, value in state_dict.items() if not key.startswith((head, *dropped))}
    problems = {
        "missing": [key for key in body_names(net) if key not in given],
        "superfluous": [key for key in given if key not in own],
        "of another shape": [key for key in own if key in given and own[key].shape != given[key].shape],
        "not finite": [
            key for key, value in given.items() if value.is_floating_point() and not value.float().isfinite().all()
        ],
    }
    if any(problems.values()):
        lines = [
            f"  {len(keys)} {kind}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}"
            for kind, keys in problems.items()
            if keys
        ]
        message = f"backbone.weights='{source}' does not fit the network ({len(own)} entries besides the head):"
        if near := fitting_network(state_dict, net.state_dict()):
            lines.append(f"These are weights of {near}: backbone={near}, or weights of this network.")
        raise ConfigError("\n".join([message, *lines]))
    # Without the version numbers in _metadata, MNASNet takes the file for an old one and rebuilds its first layers.
    versioned = OrderedDict(given)
    versioned._metadata = net.state_dict()._metadata  # type: ignore[attr-defined]
    net.load_state_dict(versioned, strict=False)


def body_names(net: nn.Module) -> list[str]:
    """Names of the weights that a file must have: those of the head are replaced.

    Old files lack BatchNorm's batch counter, which only averaging without momentum reads.
    """
    head = f"{find_head(net)}."
    return [key for key in net.state_dict() if not key.startswith(head) and not key.endswith("num_batches_tracked")]


def pretrained_head(name: str, weights: WeightsEnum | Path, head_name: str) -> nn.Linear:
    """The last layer that belongs to these weights, from what the head gets, [B, C], to their own classes.

    Raises ConfigError if the weights have no such layer.
    """
    state_dict = pretrained_state_dict(name, weights)
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


def find_head(net: nn.Module) -> str:
    """Dotted name of the last nn.Linear, or, where there is none (SqueezeNet), of the last convolution."""
    for kind in (nn.Linear, nn.Conv2d):
        names = [name for name, module in net.named_modules() if isinstance(module, kind)]
        if names:
            return str(names[-1])
    raise ValueError(f"{type(net).__name__} has no linear or convolutional layer to replace")


def replace_head(net: nn.Module, head_factory: HeadFactory, num_classes: int) -> str:
    """Put a new head in the place of the old one, and return its dotted name.

    Other layers of a classifier stay, but for the ReLU behind SqueezeNet's head: logits then can be negative, and a
    head whose outputs all fall below zero does not stop learning for good, as happened with optimizer=sgd.
    """
    name = find_head(net)
    old = net.get_submodule(name)
    if isinstance(old, nn.Linear):
        head = head_factory(old.in_features, num_classes, False)
    else:
        assert isinstance(old, nn.Conv2d)
        head = head_factory(old.in_channels, num_classes, True)
    net.set_submodule(name, head)
    parent = net.get_submodule(name.rpartition(".")[0])
    siblings = [child_name for child_name, _ in parent.named_children()]
    for later in siblings[siblings.index(name.rpartition(".")[2]) + 1 :]:
        if isinstance(parent.get_submodule(later), nn.ReLU):
            parent.set_submodule(later, nn.Identity())
    return name
