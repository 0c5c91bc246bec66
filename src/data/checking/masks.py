"""What there is to say about masks, and how many pixels each class has. Imports no torch.

Shapes: N images, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from src.data.checking.kinds import Finding
from src.data.masks import Masks, percent
from src.data.table import ImageTable
from src.data.targets import Rows

FEW_PIXELS = 0.001  # share of the training pixels below which a class is listed
MOSTLY_VOID = 0.5  # share of an image
SHOWN = 5  # classes with the most pixels and with the fewest
MAX_LISTED = 0.2  # share of all images up to which each that is mostly void is listed: more are meant


def mask_findings(table: ImageTable, rows: Rows) -> list[Finding]:
    """Of these readable images, `rows` of the table."""
    targets = table.targets
    assert isinstance(targets, Masks)
    trained = np.intersect1d(table.splits.get("train", rows[:0]), rows)
    return [*few_pixels(targets, trained), *mostly_void(targets, rows)]


def few_pixels(targets: Masks, trained: Rows) -> list[Finding]:
    pixels_K = targets.examples(trained)
    shares_K = pixels_K / max(int(pixels_K.sum()), 1)
    return [
        Finding(
            "few_pixels",
            label=targets.names[k],
            detail=f"{percent(shares_K[k])} of the training pixels: loss.class_weights=effective may help, or crops "
            "(augment.crop_px)",
        )
        for k in np.flatnonzero((pixels_K > 0) & (shares_K < FEW_PIXELS)).tolist()
    ]


def mostly_void(targets: Masks, rows: Rows) -> list[Finding]:
    counts = targets.values[rows, 3:]
    shares_N = counts[:, 0] / np.maximum(counts.sum(axis=1), 1)
    found = np.flatnonzero(shares_N > MOSTLY_VOID)
    if len(found) > MAX_LISTED * len(rows):
        return []
    return [
        Finding("mostly_void", int(rows[n]), detail=f"{percent(float(shares_N[n]))} of its pixels are void")
        for n in found.tolist()
    ]


@dataclass(frozen=True)
class PixelCounts:
    """Of the readable images `rows_N`: `pixels_NK` of each class, and `void_N`."""

    names: list[str]
    rows_N: Rows
    pixels_NK: npt.NDArray[np.int64]
    void_N: npt.NDArray[np.int64]

    @classmethod
    def of(cls, targets: Masks, rows: Rows) -> Self:
        return cls(targets.names, rows, targets.pixels(rows), targets.values[rows, 3])

    @property
    def every(self) -> int:
        """All pixels, void ones too."""
        return max(int(self.pixels_NK.sum() + self.void_N.sum()), 1)

    def class_rows(self) -> Iterator[list[str]]:
        """Of each class, the most frequent first: name, share of all pixels, images, median share of those images."""
        pixels_K = self.pixels_NK.sum(axis=0)
        sizes_N = np.maximum(self.pixels_NK.sum(axis=1) + self.void_N, 1)
        for k in np.argsort(-pixels_K, kind="stable").tolist():
            own = np.flatnonzero(self.pixels_NK[:, k])
            median = percent(float(np.median(self.pixels_NK[own, k] / sizes_N[own]))) if len(own) else ""
            yield [self.names[k], percent(pixels_K[k] / self.every), f"{len(own):,}", median]

    def lines(self, width: int) -> Iterator[str]:
        """In a column `width` characters wide what is counted, then the numbers."""
        yield f"{'pixels':{width}s} {self.every:,}, void {percent(self.void_N.sum() / self.every)}"
        rows = list(self.class_rows())
        ends = [(rows[:SHOWN], "most frequent"), (rows[-SHOWN:], "rarest")]
        if len(rows) <= 2 * SHOWN:
            ends = [(rows, "of each class")]
        for some, what in ends:
            yield f"{what:{width}s} {', '.join(f'{name} {share}' for name, share, *_ in some)}"
