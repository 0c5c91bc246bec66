"""A class for each pixel, drawn from the outlines of objects. Imports no torch.

Shapes: N images, M objects of the table, H and W pixels of the upright image.
"""

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.masks import Mask
from src.data.outlines import Outlines
from src.data.targets import Rows
from src.evaluation.pixels.confusion import VOID


@dataclass(frozen=True)
class OutlinedMasks:
    """Draws masks by row. `places` int64 [N, 4]: of each image where its objects begin, how many there are, its width
    and height. Of each object `ids` uint8 [M], the class, and `unclear` bool [M]: crowds, and objects with a box alone.
    `ground`: the class of what belongs to no object.

    Objects lie over each other by size, the largest below, since files do not say which is in front. Under all of them
    lies what is unclear, as void.
    """

    places: Rows
    boxes_xyxy: npt.NDArray[np.float32]
    ids: Mask
    unclear: npt.NDArray[np.bool_]
    outlines: Outlines = field(repr=False)
    ground: int = 0

    def __call__(self, row: int) -> Mask:
        """uint8 [H, W]."""
        start, count, width, height = self.places[row].tolist()
        size_wh = width, height
        mask_HW = np.full((height, width), self.ground, dtype=np.uint8)
        crops = [self.outlines.crop(m, size_wh, size_wh) for m in range(start, start + count)]
        unclear, own = self.unclear[start : start + count], self.outlines.present[start : start + count]
        for m in np.flatnonzero(unclear).tolist():
            if own[m]:
                crops[m].put(mask_HW, VOID)
                continue
            left, top, right, bottom = self.boxes_xyxy[start + m].tolist()
            mask_HW[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = VOID
        clear = np.flatnonzero(~unclear)
        areas = np.array([crops[m].area for m in clear.tolist()], dtype=np.int64)
        for m in clear[np.argsort(-areas, kind="stable")].tolist():
            crops[m].put(mask_HW, int(self.ids[start + m]))
        return mask_HW

    def stamp(self) -> str:
        """Changes with all that masks depend on."""
        columns: list[Any] = [self.places, self.boxes_xyxy, self.ids, self.unclear]
        columns += [getattr(self.outlines, column.name) for column in fields(self.outlines)]
        digest = hashlib.sha256(str(self.ground).encode())
        for column in columns:
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()
