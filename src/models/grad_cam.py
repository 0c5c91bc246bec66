"""Grad-CAM: which places of an image speak for a class (Selvaraju et al. 2017, arXiv 1610.02391).

Computed with torch's own gradients; docs/explain.md says why no library does it. Shapes: B images, C channels, H and
W pixels, h and w places of a feature map, N tokens of a transformer, K classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from src.models.classifier import ImageClassifier
from src.settings.errors import ConfigError


@dataclass(frozen=True)
class MapLayer:
    """A module whose outputs are feature maps, and how these lie in memory.

    `layout`: `channels first` [B, C, h, w]; `channels last` [B, h, w, C] (Swin); `tokens` [B, N, C] (ViT).
    `other_tokens`: how many tokens in front are no places of the image: the class token.
    """

    name: str
    layout: str
    side: int
    other_tokens: int = 0

    def to_maps(self, output: Tensor) -> Tensor:
        """float32 [B, C, h, w] of the module's output."""
        if self.layout == "tokens":
            output = output[:, self.other_tokens :].reshape(len(output), self.side, self.side, -1)
        return (output if self.layout == "channels first" else output.permute(0, 3, 1, 2)).float()


def explain_batch(model: ImageClassifier, images_BCHW: Tensor, class_indices_B: Tensor) -> Tensor:
    """Where each image speaks for its class: maps float32 [B, H, W] on the CPU, 0 (nothing) to 1 (the most there).

    A map of zeros alone means that no place speaks for the class. The network is as it was afterwards, and nothing
    random is drawn. All images, uint8 [B, 3, H, W], are computed at once, on the model's device; its frozen parts
    need no gradients. `class_indices_B`, int64 [B]: the output to explain in each, a class or a target of numbers.

    Raises ConfigError if the network has no layer with maps of more than one place in front of its head, or is several.
    """
    if not isinstance(model, ImageClassifier):
        raise ConfigError("There are no heat maps of several networks or views in one: name one checkpoint.")
    if not len(images_BCHW):
        return torch.zeros(0, *images_BCHW.shape[2:])
    with for_explaining(model):
        # Copies: what was made in inference mode cannot be part of a computation with gradients.
        images_BCHW, class_indices_B = images_BCHW.to(model.device).clone(), class_indices_B.to(model.device).clone()
        layer = find_map_layer(model, images_BCHW[:1])
        return grad_cam(model, layer, images_BCHW, class_indices_B).cpu()


@contextmanager
def for_explaining(model: nn.Module) -> Iterator[None]:
    """Inference mode for all modules, gradients for none of the parameters but computed where asked for."""
    training = {module: module.training for module in model.modules()}
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        model.eval().requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, was in training.items():
            module.training = was
        for parameter, was in wanted.items():
            parameter.requires_grad_(was)


def grad_cam(model: ImageClassifier, layer: MapLayer, images_BCHW: Tensor, class_indices_B: Tensor) -> Tensor:
    """float32 [B, H, W], each 0..1. Nothing in front of the layer keeps its activations, so batches may be large."""
    seen: list[Tensor] = []

    def begin_gradients_here(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        start = output.detach().requires_grad_()
        seen.append(start)
        return start.clone()  # what follows may change it in place

    hook = model.net.get_submodule(layer.name).register_forward_hook(begin_gradients_here)
    try:
        outputs_BK = model(images_BCHW)
    finally:
        hook.remove()
    scores_B = outputs_BK.gather(1, class_indices_B[:, None])
    (gradient,) = torch.autograd.grad(scores_B.sum(), seen[-1])
    maps_BChw, slopes_BChw = layer.to_maps(seen[-1].detach()), layer.to_maps(gradient)
    # The weight of a channel is its mean gradient; only what raises the score is shown.
    heat_B1hw = (maps_BChw * slopes_BChw.mean(dim=(2, 3), keepdim=True)).sum(dim=1, keepdim=True).relu()
    size = images_BCHW.shape[2:]
    heat_BHW = nn.functional.interpolate(heat_B1hw, size=size, mode="bilinear", align_corners=False)[:, 0]
    highest_B11 = heat_BHW.amax(dim=(1, 2), keepdim=True)
    return torch.where(highest_B11 > 0, heat_BHW / highest_B11.clamp_min(1e-30), 0.0)


def find_map_layer(model: ImageClassifier, image_1CHW: Tensor) -> MapLayer:
    """The last module in front of the head that gives maps, and whose places the network still reads.

    Found by running an image and asking for gradients, not by names: after its last attention a vision transformer
    reads the class token alone, so the tokens behind it have no gradient. Raises ConfigError if there is none.
    """
    found: list[tuple[MapLayer, Tensor]] = []
    handles = []
    # Class token and registers, as timm counts them; torchvision's ViTs have a class token alone.
    in_front = int(getattr(model.net, "num_prefix_tokens", 1))

    def keep(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and (layer := layer_of(name, output, in_front)) is not None:
            found.append((layer, output))

    for name, module in model.net.named_modules():
        # Pooling to a fixed size repeats places where maps are smaller (VGG and AlexNet with small images).
        if name and not isinstance(module, nn.AdaptiveAvgPool2d):
            handles.append(module.register_forward_hook(lambda _, __, output, name=name: keep(name, output)))
    try:
        # normalise() makes a copy, so the image itself stays without gradient.
        end = model.until_head(model.normalise(image_1CHW).detach().requires_grad_()).float()
    finally:
        for handle in handles:
            handle.remove()
    # A sum of the head's inputs would not do: behind a normalisation it is nearly constant.
    score = (end * torch.linspace(1, 2, end.shape[1], device=end.device).view(1, -1, *[1] * (end.ndim - 2))).sum()
    for layer, output in reversed(found):
        (gradient,) = torch.autograd.grad(score, output, retain_graph=True, allow_unused=True)
        if gradient is not None and (layer.to_maps(gradient).abs().sum(dim=1) > 0).sum() > 1:
            return layer
    raise ConfigError(
        f"{type(model.net).__name__} has no layer whose maps have more than one place for images of "
        f"{image_1CHW.shape[-1]} pixels, so there is nothing to draw: train it with a larger data.image_size_px."
    )


def layer_of(name: str, output: Tensor, in_front: int) -> MapLayer | None:
    """How one image's output is to be read as maps; None if it has no places, or one.

    `in_front`: of the network's tokens, those in front that are no places.
    """
    if output.ndim == 4 and output.shape[0] == 1:
        if output.shape[2] == output.shape[3] > 1:
            return MapLayer(name, "channels first", output.shape[2])
        if output.shape[1] == output.shape[2] > 1:
            return MapLayer(name, "channels last", output.shape[1])
    if output.ndim == 3 and output.shape[0] == 1:
        for other_tokens in (0, in_front):
            side = round((output.shape[1] - other_tokens) ** 0.5)
            if side > 1 and side * side == output.shape[1] - other_tokens:
                return MapLayer(name, "tokens", side, other_tokens)
    return None
