"""What a detector with masks says about an image: its objects, each with the pixels that belong to it. No torch.

Shapes: D rows for boxes, M objects of one image, S side of a mask in its box, H and W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.evaluation.boxes.overlaps import iou
from src.evaluation.found_objects import SIZES, as_coco
from src.evaluation.pixels.crops import Crop
from src.evaluation.pixels.pasting import FULL, pasted
from src.evaluation.prediction import Floats, Outputs
from src.reports.drawn_masks import palette_image
from src.reports.painted_objects import painted
from src.settings.plurals import number_of
from src.tasks.detection.prediction import DetectionPrediction

ROUNDED_PX = 2  # of a small mask
SAME_IOU = 0.99  # of a mask and its counterpart in predictions that count as the same
PIXELS = "pixels"  # column with the size of a mask


@dataclass(frozen=True, eq=False)
class InstanceSegmentationPrediction(DetectionPrediction):
    """`crops`: the pixels of each object in those of the upright image, whose size is `size_wh`, if that is known."""

    uses: ClassVar = DetectionPrediction.uses | {"masks"}
    error_words: ClassVar = "1 - F1 of an image's masks at IoU 0.5"
    crops: Sequence[Crop] = ()
    size_wh: tuple[int, int] | None = None

    @classmethod
    def more_of(cls, outputs: Outputs, image: int, kept_D: npt.NDArray[np.bool_]) -> dict[str, Any]:
        boxes, masks = outputs["boxes"][image][kept_D], outputs["masks"][image][kept_D]
        if masks.dtype == object:  # of an exported file
            crops = masks.tolist()
        else:
            crops = [pasted(mask, box) for mask, box in zip(as_bytes(masks), boxes, strict=True)]
        if SIZES not in outputs:
            return {"crops": crops}
        width, height = outputs[SIZES][image].tolist()
        return {"crops": crops, "size_wh": (int(width), int(height))}

    @classmethod
    def output_shapes(cls, class_names: list[str]) -> dict[str, tuple[int, ...]]:
        return {**super().output_shapes(class_names), "masks": (-1, -1, -1)}

    @classmethod
    def named(cls, arrays: Sequence[npt.NDArray[Any]], class_names: list[str]) -> Outputs:
        """A file has masks of its image's size; here they are Crops, object [1, M]."""
        *others, masks_MHW = arrays
        crops = np.empty((1, len(masks_MHW)), dtype=object)
        crops[0] = [Crop.of(mask_HW > 0) for mask_HW in masks_MHW]
        size_wh = np.array([masks_MHW.shape[:0:-1]])
        named = zip(super().output_shapes(class_names), others, strict=True)
        return {name: value[None].astype(np.float32) for name, value in named} | {"masks": crops, SIZES: size_wh}

    @classmethod
    def choice(cls, class_names: list[str]) -> str:
        return f"objects of {number_of(len(class_names), 'class', 'classes')}, each with a box and a mask"

    @classmethod
    def columns(cls, class_names: list[str], wide: bool = True) -> list[str]:
        return [*cls.needed_columns, PIXELS, "error"]

    def drawn_on(self, image: Image.Image) -> Image.Image:
        return super().drawn_on(painted(image, self.crops, self.colors))

    def as_mask(self) -> Image.Image:
        """The number of the object, from 1, by falling score as in the rows; 0 = none of them. Where several lie over
        each other, the surest. 8 bits, and 16 for more than 255 objects.
        """
        assert self.size_wh is not None
        many = len(self.crops) > FULL
        mask_HW = np.zeros(self.size_wh[::-1], dtype=np.uint16 if many else np.uint8)
        for number, crop in reversed(list(enumerate(self.crops, start=1))):
            crop.put(mask_HW, number)
        return Image.fromarray(mask_HW) if many else palette_image(mask_HW.astype(np.uint8))

    def rows(self) -> list[dict[str, str]]:
        rows = super().rows()
        areas = [str(crop.area) for crop in self.crops] or [""]
        return [{**row, PIXELS: area} for row, area in zip(rows, areas, strict=True)]

    def as_json(self, top_k: int | None = None) -> dict[str, Any]:
        found = super().as_json(top_k)["boxes"]
        more = [{PIXELS: crop.area} for crop in self.crops]
        if self.size_wh is not None:
            more = [as_coco(crop, self.size_wh) for crop in self.crops]
        return {"boxes": [{**one, **rest} for one, rest in zip(found, more, strict=False)]}

    def unlike_masks(self, other: Self) -> bool:
        """Whether an object has another mask than its counterpart: the same class, and just about the same box."""
        for box, k, crop in zip(self.boxes_xyxy, self.class_ids, self.crops, strict=True):
            ious = iou(box[None].astype(np.float64), other.boxes_xyxy.astype(np.float64))
            ious = np.where(other.class_ids == k, ious, 0)
            if len(ious) and ious.max() > SAME_IOU and not alike(crop, other.crops[int(ious.argmax())]):
                return True
        return False


def as_bytes(masks: Floats) -> npt.NDArray[np.uint8]:
    """Probabilities 0..1 as `pasted` has them."""
    return np.asarray(np.rint(masks * FULL), dtype=np.uint8)


def alike(one: Crop, other: Crop) -> bool:
    """Up to rounding, which decides about single pixels at the edges."""
    common = one.common(other)
    union = one.area + other.area - common
    return union - common <= max(ROUNDED_PX, (1 - SAME_IOU) * union)
