"""From a decoded picture to the uint8 tensor that the network takes: evaluation, and training with augmentation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from src.preprocessing import Preprocessing

Transform = Callable[[Image.Image], Tensor]  # RGB picture -> uint8 [3, H, W]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training pictures; conf/augment/none.yaml explains each. The default changes nothing."""

    crop_scale_min: float | None = None
    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    rotation_degrees: float = 0.0
    color_jitter: float = 0.0
    policy: str | None = None
    erasing: float = 0.0


POLICIES: dict[str, type[v2.Transform]] = {
    "trivial": v2.TrivialAugmentWide,
    "rand": v2.RandAugment,
    "augmix": v2.AugMix,
}


def evaluation_transform(preprocessing: Preprocessing) -> Transform:
    """Resize the shorter side, crop the centre: the pixels that torchvision's own preset gives before normalising."""
    return cast(Transform, v2.Compose([*resize_and_crop(preprocessing), v2.PILToTensor()]))


def training_transform(preprocessing: Preprocessing, augmentation: Augmentation) -> Transform:
    """Random crop or the evaluation's, then flips, rotation, colours, a policy, and erasing (with black)."""
    interpolation = InterpolationMode(preprocessing.interpolation)
    size = [preprocessing.crop_px, preprocessing.crop_px]
    steps: list[v2.Transform] = []
    if augmentation.crop_scale_min is None:
        steps += resize_and_crop(preprocessing)
    else:
        scale = (augmentation.crop_scale_min, 1.0)
        steps.append(v2.RandomResizedCrop(size, scale=scale, interpolation=interpolation))
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
    steps.append(v2.PILToTensor())
    if augmentation.erasing:
        steps.append(v2.RandomErasing(augmentation.erasing))
    return cast(Transform, v2.Compose(steps))


def resize_and_crop(preprocessing: Preprocessing) -> list[v2.Transform]:
    interpolation = InterpolationMode(preprocessing.interpolation)
    return [
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
