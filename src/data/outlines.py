"""The outlines of objects, polygons or run lengths: columns, no Python object per object. Imports no torch.

Shapes: M objects, Q polygons of all of them, P corners of all of these, C characters of run lengths.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from src.data.polygons import filled
from src.evaluation.pixels.crops import Crop, united
from src.evaluation.pixels.run_lengths import mask_of_runs, runs_of_mask, runs_of_text, text_of_runs

Ints = npt.NDArray[np.int64]
Size = tuple[int, int]  # width and height in pixels

DECIMALS = 3  # that corners have in files; float32 holds more, and would round otherwise than COCO does


@dataclass(frozen=True, eq=False)
class Outlines:
    """Of each object its polygons, all of which belong to it, or run lengths (which can have holes), or neither.

    `part_starts` int64 [M + 1]: where the polygons of an object begin in `point_starts`, int64 [Q + 1]: where the
    corners of a polygon begin in `points`, float32 [P, 2], x and y. `code_starts` int64 [M + 1]: where the run lengths
    of an object begin in `codes`, int8 [C], COCO's text of them; `coded_wh` int32 [M, 2]: the size of the image whose
    pixels they count, 0 for polygons.
    """

    part_starts: Ints
    point_starts: Ints
    points: npt.NDArray[np.float32]
    code_starts: Ints
    codes: npt.NDArray[np.int8]
    coded_wh: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.coded_wh)

    @classmethod
    def of_masks(cls, masks: Iterable[npt.NDArray[np.bool_]]) -> Self:
        """As run lengths; bool [H, W] each."""
        texts, sizes = list[bytes](), list[tuple[int, int]]()
        for mask_HW in masks:
            texts.append(text_of_runs(runs_of_mask(mask_HW)))
            sizes.append((mask_HW.shape[1], mask_HW.shape[0]))
        codes = np.frombuffer(b"".join(texts), dtype=np.int8)
        return cls(
            starts_of([0] * len(texts)),
            starts_of([]),
            np.empty((0, 2), dtype=np.float32),
            starts_of([len(text) for text in texts]),
            codes,
            np.array(sizes, dtype=np.int32).reshape(-1, 2),
        )

    @classmethod
    def joined(cls, pieces: Sequence[Self]) -> Self:
        """The objects of all pieces, one piece after the other. At least one piece."""
        return cls(
            starts_of(np.concatenate([np.diff(one.part_starts) for one in pieces])),
            starts_of(np.concatenate([np.diff(one.point_starts) for one in pieces])),
            np.concatenate([one.points for one in pieces]),
            starts_of(np.concatenate([np.diff(one.code_starts) for one in pieces])),
            np.concatenate([one.codes for one in pieces]),
            np.concatenate([one.coded_wh for one in pieces]),
        )

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which objects have an outline, [M]."""
        return np.asarray((np.diff(self.part_starts) > 0) | (np.diff(self.code_starts) > 0))

    @property
    def object_of_point(self) -> Ints:
        """0..M-1 [P]."""
        return np.repeat(np.arange(len(self)), np.diff(self.point_starts[self.part_starts]))

    def take(self, objects: Ints) -> Self:
        """Those of these objects alone, in this order."""
        parts = gathered(self.part_starts, objects)
        points, codes = gathered(self.point_starts, parts), gathered(self.code_starts, objects)
        return type(self)(
            starts_of(np.diff(self.part_starts)[objects]),
            starts_of(np.diff(self.point_starts)[parts]),
            self.points[points],
            starts_of(np.diff(self.code_starts)[objects]),
            self.codes[codes],
            self.coded_wh[objects],
        )

    def hulls(self) -> npt.NDArray[np.float64]:
        """Around the polygons of each object: x1, y1, x2, y2 [M, 4]; NaN without polygons."""
        hulls_M4 = np.full((len(self), 4), np.nan)
        has = np.diff(self.part_starts) > 0
        if has.any():
            starts = self.point_starts[self.part_starts[:-1][has]]
            hulls_M4[has, :2] = np.minimum.reduceat(self.points, starts)
            hulls_M4[has, 2:] = np.maximum.reduceat(self.points, starts)
        return hulls_M4

    def polygons(self, m: int) -> list[npt.NDArray[np.float64]]:
        """x and y of the corners, [k, 2] each."""
        ends = self.point_starts[self.part_starts[m] : self.part_starts[m + 1] + 1]
        points = np.round(self.points[ends[0] : ends[-1]].astype(np.float64), DECIMALS)
        return np.split(points, ends[1:-1] - ends[0]) if len(ends) > 1 else []

    def mask(self, m: int) -> npt.NDArray[np.bool_]:
        """As its run lengths have it, in the image that they are of: bool [H, W]."""
        text = self.codes[self.code_starts[m] : self.code_starts[m + 1]].tobytes()
        width, height = self.coded_wh[m].tolist()
        return mask_of_runs(runs_of_text(text), (height, width))

    def crop(self, m: int, image_wh: Size, wanted_wh: Size) -> Crop:
        """The pixels of an object, of an image of `image_wh` (in whose pixels polygons count) scaled to `wanted_wh`.

        Polygons are scaled and then filled; of masks each pixel takes the one that its middle lies in.
        """
        if self.code_starts[m] == self.code_starts[m + 1]:
            scale = np.array(wanted_wh) / image_wh
            return united([filled(polygon * scale, wanted_wh) for polygon in self.polygons(m)])
        return Crop.of(nearest(self.mask(m), wanted_wh))


def nearest(mask_HW: npt.NDArray[np.bool_], wanted_wh: Size) -> npt.NDArray[np.bool_]:
    """Scaled to another size by the nearest pixel."""
    if mask_HW.shape == wanted_wh[::-1]:
        return mask_HW
    rows, columns = (
        (2 * np.arange(wanted) + 1) * have // (2 * wanted)
        for wanted, have in zip(wanted_wh[::-1], mask_HW.shape, strict=True)
    )
    return np.asarray(mask_HW[rows[:, None], columns])


def starts_of(counts: npt.ArrayLike) -> Ints:
    """Where each of so many begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))]).astype(np.int64)


def gathered(starts: Ints, rows: Ints) -> Ints:
    """Indices of what lies between the starts of these rows and the next ones."""
    counts = np.diff(starts)[rows]
    before = np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.repeat(starts[rows], counts) + np.arange(len(before)) - before)
