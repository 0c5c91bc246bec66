"""Boxes with the outline of each object: the pixels that belong to it, beside those of others or over them.

Shapes: N images, M objects of the table, m of an image, H and W pixels.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from src.data.boxes import Boxes
from src.data.outlines import Outlines
from src.data.targets import Kind, Rows
from src.evaluation.pixels.crops import Crop


@dataclass(frozen=True)
class Instances(Boxes):
    """`outlines`: of the M objects, in the pixels of the upright images. Those of crowds may be missing."""

    outlines: Outlines

    kind: ClassVar[Kind] = "instances"

    def crops(self, row: int, size_wh: tuple[int, int] | None = None) -> list[Crop]:
        """The pixels of each object of an image, scaled to this size; None = the file's own."""
        own, where = self.size(row), self.of(row)
        return [self.outlines.crop(m, own, size_wh or own) for m in range(where.start, where.stop)]

    def digest(self, rows: Rows) -> bytes:
        objects_m, _ = self.places(rows)
        some = self.outlines.take(objects_m)
        columns = some.part_starts, some.point_starts, some.points, some.code_starts, some.codes
        found = hashlib.sha256(b"".join(np.ascontiguousarray(column).tobytes() for column in columns))
        return super().digest(rows) + found.digest()

    def sample(self, row: int, size_wh: tuple[int, int]) -> dict[str, Any]:
        """As of Boxes, with `masks` (tv_tensors.Mask uint8 [m, H, W] of an image of this size) of what is no crowd."""
        import torch
        from torchvision import tv_tensors

        where, (width, height) = self.of(row), size_wh
        kept = np.flatnonzero(~self.crowd[where]) + where.start
        masks_mHW = np.zeros((len(kept), height, width), dtype=np.uint8)
        for mask_HW, m in zip(masks_mHW, kept.tolist(), strict=True):
            self.outlines.crop(m, self.size(row), size_wh).put(mask_HW)
        return {**super().sample(row, size_wh), "masks": tv_tensors.Mask(torch.from_numpy(masks_mHW))}

    def evaluation_sample(self, row: int, size_wh: tuple[int, int]) -> dict[str, Any]:
        """The same, with `truth_masks`: the pixels of all objects in those of the file, crowds included."""
        return {**self.sample(row, size_wh), "truth_masks": packed(self.crops(row))}


def packed(crops: list[Crop]) -> npt.NDArray[np.uint8]:
    """As one array that goes through a queue in one piece; see `unpacked`."""
    places = np.array([(c.left, c.top, *c.pixels.shape) for c in crops], dtype=np.int64).reshape(-1, 4)
    bits = [np.packbits(c.pixels) for c in crops]
    head = np.array([len(crops)], dtype=np.int64)
    return np.concatenate([head.view(np.uint8), places.reshape(-1).view(np.uint8), *bits])


def unpacked(data: npt.NDArray[np.uint8]) -> list[Crop]:
    count = int(data[:8].view(np.int64)[0])
    places, at, crops = data[8 : 8 + 32 * count].view(np.int64).reshape(-1, 4), 8 + 32 * count, []
    for left, top, height, width in places.tolist():
        end = at + -(-height * width // 8)
        pixels = np.unpackbits(data[at:end], count=height * width).astype(np.bool_)
        crops.append(Crop(left, top, pixels.reshape(height, width)))
        at = end
    return crops
