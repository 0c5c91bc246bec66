"""From a decoded image to the uint8 tensor that the network takes: evaluation, and training with augmentation.

The target of an image goes with it: what is a `torchvision.tv_tensor` moves with the pixels, all else stays as it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from src.data.decode import fitted_into, scaled_size
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
        prepare = Scale(partial(shrunk_to, needed_px), InterpolationMode.BILINEAR) if keep else v2.Identity()
    steps += [*flip_steps(augmentation), *color_steps(augmentation)]
    if augmentation.policy:
        steps.append(POLICIES[augmentation.policy](interpolation=InterpolationMode.BILINEAR))
    steps.append(v2.PILToTensor())
    if augmentation.erasing:
        steps.append(v2.RandomErasing(augmentation.erasing))
    return Transform(prepare, v2.Compose(steps), needed_px)


def flip_steps(augmentation: Augmentation) -> list[v2.Transform]:
    """Flips and rotation."""
    steps = mirror_steps(augmentation)
    if augmentation.rotation_degrees:
        steps.append(v2.RandomRotation(augmentation.rotation_degrees, interpolation=InterpolationMode.BILINEAR))
    return steps


def mirror_steps(augmentation: Augmentation) -> list[v2.Transform]:
    steps: list[v2.Transform] = []
    if augmentation.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip(augmentation.horizontal_flip))
    if augmentation.vertical_flip:
        steps.append(v2.RandomVerticalFlip(augmentation.vertical_flip))
    return steps


def color_steps(augmentation: Augmentation) -> list[v2.Transform]:
    amount = augmentation.color_jitter
    return [v2.ColorJitter(brightness=amount, contrast=amount, saturation=amount)] if amount else []


def resized(preprocessing: Preprocessing) -> v2.Compose:
    """Images as evaluation sees them: `crop_px` by `crop_px` pixels, or no larger where they keep their shape."""
    side = preprocessing.crop_px
    interpolation = InterpolationMode(preprocessing.interpolation)
    if preprocessing.resize_mode == "stretch":
        return v2.Compose([Scale(partial(squeezed_to, side), interpolation)])
    if preprocessing.keeps_shape:
        return v2.Compose([Scale(partial(fitted_into, side, preprocessing.resize_px), interpolation)])
    if preprocessing.resize_mode == "fit":
        scale = Scale(partial(fitted_into, side, side), interpolation)
        return v2.Compose([scale, PadTo(side, list(preprocessing.padding_color))])
    refuse = v2.Lambda(partial(refuse_thin, preprocessing.resize_px), Image.Image)
    resize = v2.Resize([preprocessing.resize_px], interpolation=interpolation, antialias=True)
    return v2.Compose([refuse, resize, v2.CenterCrop([side])])


def refuse_thin(shorter_px: int, image: Image.Image) -> Image.Image:
    """The image itself; raises UnreadableImage where scaling the shorter side would make it huge."""
    scaled_size(image.size, shorter_px)
    return image


def squeezed_to(side_px: int, sides: tuple[int, int]) -> list[int]:
    """A square, whatever the image's sides are."""
    return [side_px, side_px]


def shrunk_to(shorter_px: int, sides: tuple[int, int]) -> list[int]:
    """Of a larger image, scaled down until its shorter side has `shorter_px` pixels."""
    shorter = min(sides)
    return [round(side * shorter_px / shorter) for side in sides] if shorter > shorter_px else list(sides)


class Scale(v2.Transform):
    """Scales an image to the height and width in pixels that `new_sides` says of its own."""

    def __init__(self, new_sides: Callable[[tuple[int, int]], list[int]], interpolation: InterpolationMode) -> None:
        super().__init__()
        self.new_sides, self.interpolation = new_sides, interpolation

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"size": self.new_sides(size_of_image(flat_inputs))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return resized_to(self, inpt, params["size"], self.interpolation)


def resized_to(transform: v2.Transform, inpt: Any, size: list[int], interpolation: InterpolationMode) -> Any:
    """Of an image, and of what moves with it. torchvision's masks would move by half a pixel of the coarser grid: its
    `nearest` takes the corner of what a pixel becomes, and not the middle as antialiasing does.
    """
    if isinstance(inpt, tv_tensors.Mask):
        exact = F.resize_image(inpt.as_subclass(Tensor)[None], size, interpolation=InterpolationMode.NEAREST_EXACT)
        return tv_tensors.wrap(exact[0], like=inpt)
    return transform._call_kernel(F.resize, inpt, size, interpolation=interpolation, antialias=True)


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
