"""Masks of the objects of an image, each cut to the part that holds it: small, and quickly compared. Imports no torch.

Shapes: h and w pixels of a cut, H and W of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from src.evaluation.pixels.run_lengths import runs_of_mask

Mask = npt.NDArray[np.bool_]
Runs = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Crop:
    """`pixels` bool [h, w], of which the first lies in column `left` and row `top` of the image; none beyond it is
    inside.
    """

    left: int
    top: int
    pixels: Mask

    @classmethod
    def empty(cls) -> Self:
        return cls(0, 0, np.zeros((0, 0), dtype=np.bool_))

    @classmethod
    def of(cls, mask_HW: Mask) -> Self:
        """No larger than needed."""
        rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
        if not len(rows):
            return cls.empty()
        top, left = int(rows[0]), int(columns[0])
        return cls(left, top, mask_HW[top : rows[-1] + 1, left : columns[-1] + 1].copy())

    @property
    def right(self) -> int:
        return self.left + int(self.pixels.shape[1])

    @property
    def bottom(self) -> int:
        return self.top + int(self.pixels.shape[0])

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(np.count_nonzero(self.pixels))

    def put(self, mask_HW: npt.NDArray[np.generic], value: int = 1) -> None:
        """Set what is inside, in an array of the image's size."""
        mask_HW[self.top : self.bottom, self.left : self.right][self.pixels] = value

    def scaled(self, own_wh: tuple[int, int], size_wh: tuple[int, int]) -> "Crop":
        """Of an image of one size, in that of another: each pixel is the nearest one."""
        if own_wh == size_wh:
            return self
        columns, rows = ((2 * np.arange(new) + 1) * own // (2 * new) for own, new in zip(own_wh, size_wh, strict=True))
        across = np.flatnonzero((columns >= self.left) & (columns < self.right))
        down = np.flatnonzero((rows >= self.top) & (rows < self.bottom))
        if not len(across) or not len(down):
            return self.empty()
        pixels = self.pixels[np.ix_(rows[down] - self.top, columns[across] - self.left)]
        return Crop(int(across[0]), int(down[0]), pixels)

    def whole(self, size_wh: tuple[int, int]) -> Mask:
        """bool [H, W]."""
        mask_HW = np.zeros((size_wh[1], size_wh[0]), dtype=np.bool_)
        self.put(mask_HW)
        return mask_HW

    def runs(self, size_wh: tuple[int, int]) -> Runs:
        """Run lengths of the whole image; see run_lengths.py."""
        return runs_of_mask(self.whole(size_wh))

    def common(self, other: "Crop") -> int:
        """Pixels inside both."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        if left >= right or top >= bottom:
            return 0
        one, two = (
            crop.pixels[top - crop.top : bottom - crop.top, left - crop.left : right - crop.left]
            for crop in (self, other)
        )
        return int(np.count_nonzero(one & two))


def united(crops: Sequence[Crop]) -> Crop:
    """What is inside any of them."""
    some = [crop for crop in crops if crop.pixels.size]
    if len(some) <= 1:
        return some[0] if some else Crop.empty()
    left, top = min(crop.left for crop in some), min(crop.top for crop in some)
    right, bottom = max(crop.right for crop in some), max(crop.bottom for crop in some)
    both = np.zeros((bottom - top, right - left), dtype=np.bool_)
    for crop in some:
        Crop(crop.left - left, crop.top - top, crop.pixels).put(both)
    return Crop(left, top, both)
