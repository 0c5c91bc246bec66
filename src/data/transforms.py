"""From a decoded image to the uint8 tensor that the network takes: evaluation, and training with augmentation."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from src.data.decode import scaled_size
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation


@dataclass(frozen=True)
class Transform:
    """Two steps, so that the first, which is always the same for an image, can be kept instead of repeated.

    `prepare` takes an RGB image and `draw` what `prepare` returns; `draw` ends at uint8 [3, H, W] and is the random
    part. `needed_px` is what the shorter side must still have (see read_rgb).
    """

    prepare: Callable[[Image.Image], Any]
    draw: Callable[[Any], Tensor]
    needed_px: int
    random: bool

    def __call__(self, image: Image.Image) -> Tensor:
        return self.draw(self.prepare(image))


POLICIES: dict[str, type[v2.Transform]] = {
    "trivial": v2.TrivialAugmentWide,
    "rand": v2.RandAugment,
    "augmix": v2.AugMix,
}


def evaluation_transform(preprocessing: Preprocessing) -> Transform:
    """Resize the shorter side, crop the centre: the pixels that torchvision's own preset gives before normalising."""
    return Transform(v2.Compose(resize_and_crop(preprocessing)), v2.PILToTensor(), preprocessing.resize_px, False)


def training_transform(preprocessing: Preprocessing, augmentation: Augmentation, keep: bool = False) -> Transform:
    """Random crop or the evaluation's, then flips, rotation, colours, a policy, and erasing (with black).

    With `keep`, images whose crops are random are first scaled down to the size at which the smallest crop still has
    the pixels that the network sees, and smaller ones stay as they are: what is worth keeping in a cache.
    """
    interpolation = InterpolationMode(preprocessing.interpolation)
    crop_px = augmentation.crop_px or preprocessing.crop_px
    steps: list[v2.Transform] = []
    prepare: Callable[[Image.Image], Any] = v2.Compose(resize_and_crop(preprocessing))
    needed_px = preprocessing.resize_px
    if augmentation.crop_scale_min is not None:
        scale = (augmentation.crop_scale_min, 1.0)
        steps.append(v2.RandomResizedCrop([crop_px, crop_px], scale=scale, interpolation=interpolation))
        needed_px = math.ceil(crop_px / math.sqrt(augmentation.crop_scale_min))
        prepare = ShrinkTo(needed_px) if keep else v2.Identity()
    if augmentation.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip(augmentation.horizontal_flip))
    if augmentation.vertical_flip:
        steps.append(v2.RandomVerticalFlip(augmentation.vertical_flip))
    if augmentation.rotation_degrees:
        steps.append(v2.RandomRotation(augmentation.rotation_degrees, interpolation=InterpolationMode.BILINEAR))
    if augmentation.color_jitter:
        amount = augmentation.color_jitter
        steps.append(v2.ColorJitter(brightness=amount, contrast=amount, saturation=amount))
    if augmentation.policy:
        steps.append(POLICIES[augmentation.policy](interpolation=InterpolationMode.BILINEAR))
    random = bool(steps or augmentation.erasing or augmentation.mixup or augmentation.cutmix)
    steps.append(v2.PILToTensor())
    if augmentation.erasing:
        steps.append(v2.RandomErasing(augmentation.erasing))
    return Transform(prepare, v2.Compose(steps), needed_px, random)


class RefuseThin:
    """Returns an image as it is, or raises UnreadableImage where scaling its shorter side would make it huge."""

    def __init__(self, shorter_px: int) -> None:
        self.shorter_px = shorter_px

    def __call__(self, image: Image.Image) -> Image.Image:
        scaled_size(image.size, self.shorter_px)
        return image


class ShrinkTo:
    """Scales a larger image down until its shorter side has `shorter_px` pixels."""

    def __init__(self, shorter_px: int) -> None:
        self.shorter_px = shorter_px

    def __call__(self, image: Image.Image) -> Image.Image:
        shorter = min(image.size)
        if shorter <= self.shorter_px:
            return image
        width, height = (round(side * self.shorter_px / shorter) for side in image.size)
        return image.resize((width, height), Image.Resampling.BILINEAR)


def resize_and_crop(preprocessing: Preprocessing) -> list[Callable[[Image.Image], Image.Image]]:
    interpolation = InterpolationMode(preprocessing.interpolation)
    return [
        RefuseThin(preprocessing.resize_px),
        v2.Resize([preprocessing.resize_px], interpolation=interpolation, antialias=True),
        v2.CenterCrop([preprocessing.crop_px]),
    ]


class Seeded:
    """Within the block, torch's CPU random numbers follow from `seed` alone; afterwards they go on as before.

    Unlike torch.manual_seed this leaves the generators of accelerators alone.
    """

    def __init__(self, *seed: int) -> None:
        mixed = 0
        for part in seed:
            mixed = (mixed * 1_000_003 + part + 1) % (1 << 63)
        self.seed = mixed

    def __enter__(self) -> None:
        self.state = torch.get_rng_state()
        torch.default_generator.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self.state)
