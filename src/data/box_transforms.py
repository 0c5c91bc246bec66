"""Augmentation of images with boxes: what moves an image moves its boxes, and boxes that leave it go."""

from typing import Any

from PIL import Image
from torchvision.transforms import v2

from src.data.box_sides import LEAST_SIDE_PX
from src.data.scale_jitter import ScaleJitter
from src.data.transforms import Transform, color_steps, flip_steps, resized, size_of_image
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation

ZOOM_OUT = (1.0, 2.0)  # sides of the ground that an image is put on, in its own


def training_box_transform(preprocessing: Preprocessing, augmentation: Augmentation) -> Transform:
    """Resized as in evaluation, and kept so in a cache; then zoom out, crop, flips, rotation, scale and colours.

    Crops enlarge what was resized before: they show no finer detail than evaluation does.
    """
    steps: list[v2.Transform] = []
    if augmentation.zoom_out:
        fill = {Image.Image: preprocessing.padding_color, "others": 0}
        steps.append(v2.RandomZoomOut(fill, side_range=ZOOM_OUT, p=augmentation.zoom_out))
    if augmentation.iou_crop:
        steps.append(v2.RandomApply([ObjectCrop()], p=augmentation.iou_crop))
    if steps:
        steps.append(resized(preprocessing))
    steps += flip_steps(augmentation)
    if augmentation.scale_jitter:
        steps.append(ScaleJitter(augmentation.scale_jitter, preprocessing.crop_px))
    steps += [*color_steps(augmentation), v2.PILToTensor()]
    steps.append(v2.SanitizeBoundingBoxes(min_size=LEAST_SIDE_PX))  # last: all else may leave a box without area
    return Transform(resized(preprocessing), v2.Compose(steps), preprocessing.resize_px)


class ObjectCrop(v2.RandomIoUCrop):
    """torchvision's (SSD, arXiv 1512.02325), which cannot cut images of a few pixels on a side: they stay whole."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        if min(size_of_image(flat_inputs)) * self.min_scale < 1:
            return {}
        params: dict[str, Any] = super().make_params(flat_inputs)
        return params
