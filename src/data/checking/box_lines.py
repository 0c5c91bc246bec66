"""How many boxes there are, and how large, as numbers for a page and lines for a terminal.

Shapes: N images, M boxes, K classes. Crowds (difficult objects) are counted apart, and not among the boxes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from src.data.box_sides import LEAST_SIDE_PX
from src.data.boxes import Boxes
from src.data.checking.boxes import SMALL_PX
from src.data.table import ImageTable
from src.data.targets import Rows
from src.models.preprocessing import Preprocessing
from src.settings.plurals import number_of


@dataclass(frozen=True)
class BoxCounts:
    """Of the readable images `rows_N`: `count_N` boxes of each. Of each box: `place_M` in the arrays of the targets;
    `image_M`, position in `rows_N`; `class_M`; `shorter_M` and `longer_M`, its sides in pixels of the network, whose
    images have `size_px` on their longer side. `crowds_K`: boxes that nobody trains on, by class.
    """

    names: list[str]
    rows_N: Rows
    count_N: Rows
    place_M: Rows
    image_M: Rows
    class_M: npt.NDArray[np.int64]
    shorter_M: npt.NDArray[np.float32]
    longer_M: npt.NDArray[np.float32]
    crowds_K: npt.NDArray[np.int64]
    size_px: int

    @classmethod
    def of(cls, table: ImageTable, rows: Rows, preprocessing: Preprocessing) -> Self:
        targets = table.targets
        assert isinstance(targets, Boxes)
        places, positions = targets.places(rows)
        crowd = targets.crowd[places]
        classes = targets.class_ids[places]
        sides = targets.sides_at_network(rows, preprocessing)[~crowd]
        return cls(
            targets.names, rows, np.bincount(positions[~crowd], minlength=len(rows)), places[~crowd], positions[~crowd],
            classes[~crowd], sides.min(axis=1), sides.max(axis=1),
            np.bincount(classes[crowd], minlength=len(targets.names)), preprocessing.crop_px,
        )  # fmt: skip

    @property
    def of_class(self) -> npt.NDArray[np.int64]:
        """Boxes, int64 [K]."""
        return np.bincount(self.class_M, minlength=len(self.names)).astype(np.int64)

    def class_rows(self) -> Iterator[list[str]]:
        """Of each class, the most frequent first: name, boxes, images, boxes that nobody trains on, median sides, share
        of small ones.
        """
        boxes_K = self.of_class
        by_class = np.argsort(self.class_M, kind="stable")
        ends_K = np.cumsum(boxes_K)
        for k in np.argsort(-boxes_K, kind="stable").tolist():
            mine = by_class[ends_K[k] - boxes_K[k] : ends_K[k]]
            sides = [f"{np.median(side[mine]):.0f}" if len(mine) else "" for side in (self.shorter_M, self.longer_M)]
            small = f"{(self.shorter_M[mine] < SMALL_PX).mean():.1%}" if len(mine) else ""
            images = len(np.unique(self.image_M[mine]))
            yield [self.names[k], f"{boxes_K[k]:,}", f"{images:,}", f"{self.crowds_K[k]:,}", *sides, small]

    def lines(self, width: int) -> Iterator[str]:
        """In a column `width` characters wide what is counted, then the numbers."""
        total = len(self.class_M)
        apart = f", and {self.crowds_K.sum():,} crowds or difficult ones" if self.crowds_K.any() else ""
        yield f"{'boxes':{width}s} {total:,}{apart}"
        if not total:
            return
        low, middle, high = np.quantile(self.count_N, (0, 0.5, 1))
        empty = f"; {number_of(int((self.count_N == 0).sum()), 'image has', 'images have')} none" if low == 0 else ""
        yield f"{'boxes an image':{width}s} {low:.0f} to {high:.0f}, median {middle:g}{empty}"
        where = f"pixels, in images of {self.size_px}"
        low, middle, high = np.quantile(self.shorter_M, (0, 0.5, 1))
        yield f"{'shorter sides':{width}s} {low:.1f} to {high:.0f} {where}, median {middle:.0f}"
        shares = [f"{int(count):,} under {px:g}" for px, count in self.below()]
        yield f"{'small ones':{width}s} {', '.join(shares)} pixels (data.image_size_px decides)"

    def below(self) -> list[tuple[float, int]]:
        """Boxes with a side under 8 pixels, and under 1."""
        return [(px, int((self.shorter_M < px).sum())) for px in (SMALL_PX, LEAST_SIDE_PX)]
