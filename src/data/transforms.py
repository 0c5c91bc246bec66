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

from src.data.resizing import ShrinkTo, resized
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
    return Transform(prepare, v2.Compose(steps), needed_px)
