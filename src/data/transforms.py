"""From a decoded image to the uint8 tensor that the network takes: evaluation, and training with augmentation.

The target of an image goes with it: what is a `torchvision.tv_tensor` moves with the pixels, all else stays as it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from src.data.decode import scaled_size
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation


@dataclass(frozen=True)
class Transform:
    """Two steps, so that the first, which is always the same for an image, can be kept instead of repeated.

    `prepare` takes an RGB image with its target and `draw` what `prepare` returns; `draw` ends at uint8 [3, H, W] with
    the target and is the random part. `needed_px` is what the shorter side must still have (see read_rgb).
    """

    prepare: Callable[[Image.Image, Any], tuple[Image.Image, Any]]
    draw: Callable[[Image.Image, Any], tuple[Tensor, Any]]
    needed_px: int

    def __call__(self, image: Image.Image) -> Tensor:
        """Of an image alone."""
        return self.draw(*self.prepare(image, None))[0]


POLICIES: dict[str, type[v2.Transform]] = {
    "trivial": v2.TrivialAugmentWide, "rand": v2.RandAugment, "augmix": v2.AugMix,
}  # fmt: skip


def is_random(augmentation: Augmentation) -> bool:
    """Whether a training image comes out otherwise each time."""
    return replace(augmentation, crop_px=None) != Augmentation()


def evaluation_transform(preprocessing: Preprocessing) -> Transform:
    """Resized alone: with resize_mode=crop the pixels that torchvision's own preset gives before normalising."""
    return Transform(resized(preprocessing), v2.PILToTensor(), preprocessing.resize_px)


def training_transform(preprocessing: Preprocessing, augmentation: Augmentation, keep: bool = False) -> Transform:
    """Random crop or the evaluation's, then flips, rotation, colours, a policy, and erasing (with black).

    With `keep`, images whose crops are random are first scaled down to the size at which the smallest crop still has
    the pixels that the network sees, and smaller ones stay as they are: what is worth keeping in a cache.
    """
    interpolation = InterpolationMode(preprocessing.interpolation)
    crop_px = augmentation.crop_px or preprocessing.crop_px
    steps: list[v2.Transform] = []
    prepare: v2.Transform | v2.Compose = resized(preprocessing)
    needed_px = preprocessing.resize_px
    if augmentation.crop_scale_min is not None:
        scale = (augmentation.crop_scale_min, 1.0)
        steps.append(v2.RandomResizedCrop([crop_px, crop_px], scale=scale, interpolation=interpolation))
        needed_px = math.ceil(crop_px / math.sqrt(augmentation.crop_scale_min))
        prepare = ShrinkTo(needed_px) if keep else v2.Identity()
    steps += [*flip_steps(augmentation), *color_steps(augmentation)]
    if augmentation.policy:
        steps.append(POLICIES[augmentation.policy](interpolation=InterpolationMode.BILINEAR))
    steps.append(v2.PILToTensor())
    if augmentation.erasing:
        steps.append(v2.RandomErasing(augmentation.erasing))
    return Transform(prepare, v2.Compose(steps), needed_px)


def flip_steps(augmentation: Augmentation) -> list[v2.Transform]:
    """Flips and rotation."""
    steps: list[v2.Transform] = []
    if augmentation.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip(augmentation.horizontal_flip))
    if augmentation.vertical_flip:
        steps.append(v2.RandomVerticalFlip(augmentation.vertical_flip))
    if augmentation.rotation_degrees:
        steps.append(v2.RandomRotation(augmentation.rotation_degrees, interpolation=InterpolationMode.BILINEAR))
    return steps


def color_steps(augmentation: Augmentation) -> list[v2.Transform]:
    amount = augmentation.color_jitter
    return [v2.ColorJitter(brightness=amount, contrast=amount, saturation=amount)] if amount else []


def resized(preprocessing: Preprocessing) -> v2.Compose:
    """Images as evaluation sees them: `crop_px` by `crop_px` pixels, or no larger where they keep their shape."""
    side = preprocessing.crop_px
    interpolation = InterpolationMode(preprocessing.interpolation)
    if preprocessing.resize_mode == "stretch":
        return v2.Compose([v2.Resize([side, side], interpolation=interpolation, antialias=True)])
    if preprocessing.keeps_shape:
        return v2.Compose([FitInto(side, interpolation, preprocessing.resize_px)])
    if preprocessing.resize_mode == "fit":
        return v2.Compose([FitInto(side, interpolation), PadTo(side, list(preprocessing.padding_color))])
    return v2.Compose(
        [
            RefuseThin(preprocessing.resize_px),
            v2.Resize([preprocessing.resize_px], interpolation=interpolation, antialias=True),
            v2.CenterCrop([side]),
        ]
    )


class RefuseThin(v2.Transform):
    """Changes nothing, and raises UnreadableImage where scaling the shorter side would make an image huge."""

    def __init__(self, shorter_px: int) -> None:
        super().__init__()
        self.shorter_px = shorter_px

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, Image.Image):
            scaled_size(inpt.size, self.shorter_px)
        return inpt


class ShrinkTo(v2.Transform):
    """Scales a larger image down until its shorter side has `shorter_px` pixels."""

    def __init__(self, shorter_px: int) -> None:
        super().__init__()
        self.shorter_px = shorter_px

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        sides = size_of_image(flat_inputs)
        shorter = max(min(sides), 1)
        is_larger = shorter > self.shorter_px
        return {"size": [round(side * self.shorter_px / shorter) for side in sides] if is_larger else None}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if params["size"] is None:
            return inpt
        return self._call_kernel(F.resize, inpt, params["size"], interpolation=InterpolationMode.BILINEAR)


class FitInto(v2.Transform):
    """Scales an image, up or down, until its longer side has `longer_px` pixels or its shorter one `shorter_px`,
    whichever comes first; no side gets less than 1.
    """

    def __init__(self, longer_px: int, interpolation: InterpolationMode, shorter_px: int | None = None) -> None:
        super().__init__()
        self.longer_px, self.shorter_px = longer_px, longer_px if shorter_px is None else shorter_px
        self.interpolation = interpolation

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        sides = size_of_image(flat_inputs)
        by_longer = self.longer_px * min(sides) <= self.shorter_px * max(sides)
        wanted, side_px = (self.longer_px, max(sides)) if by_longer else (self.shorter_px, min(sides))
        return {"size": [max(1, wanted * side // side_px) for side in sides]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.resize, inpt, params["size"], interpolation=self.interpolation, antialias=True)


class PadTo(v2.Transform):
    """Puts an image of at most `side_px` by `side_px` pixels in the middle of a square of one colour (RGB 0..255)."""

    def __init__(self, side_px: int, color: list[int]) -> None:
        super().__init__()
        self.side_px, self.color = side_px, color

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = size_of_image(flat_inputs)
        left, top = (round((self.side_px - side) / 2) for side in (width, height))  # as torchvision's CenterCrop
        return {"padding": [left, top, self.side_px - width - left, self.side_px - height - top]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        fill = self.color if isinstance(inpt, Image.Image) else 0  # nothing is there in a mask
        return self._call_kernel(F.pad, inpt, padding=params["padding"], fill=fill)


def size_of_image(flat_inputs: list[Any]) -> tuple[int, int]:
    """Height and width in pixels."""
    width, height = next(one.size for one in flat_inputs if isinstance(one, Image.Image))
    return height, width
