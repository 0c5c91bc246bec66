"""Augmentation of images with a class for each pixel: what moves an image moves its mask; what is not there is void."""

from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from src.data.scale_jitter import ScaleJitter
from src.data.transforms import Transform, color_steps, mirror_steps, resized
from src.evaluation.pixels.confusion import VOID
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation


def training_mask_transform(preprocessing: Preprocessing, augmentation: Augmentation) -> Transform:
    """Resized as in evaluation, and kept so in a cache; then flips, rotation, scale with random cuts, and colours."""
    steps: list[v2.Transform] = mirror_steps(augmentation)
    if augmentation.rotation_degrees:
        fill = {Image.Image: preprocessing.padding_color, tv_tensors.Mask: VOID}
        degrees, bilinear = augmentation.rotation_degrees, InterpolationMode.BILINEAR
        steps.append(v2.RandomRotation(degrees, interpolation=bilinear, fill=fill))
    largest_px = augmentation.crop_px or preprocessing.crop_px
    if augmentation.scale_jitter or augmentation.crop_px:
        steps.append(ScaleJitter(augmentation.scale_jitter, largest_px))
    steps += [*color_steps(augmentation), v2.PILToTensor()]
    return Transform(resized(preprocessing), v2.Compose(steps), preprocessing.resize_px)
