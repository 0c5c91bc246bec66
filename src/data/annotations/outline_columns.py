"""Outlines that grow object by object, as readers of annotations find them. Imports no torch."""

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from src.data.outlines import Outlines, starts_of
from src.evaluation.pixels.run_lengths import runs_of_text, text_of_runs

FEWEST = 6  # numbers of a polygon: three corners
MOST_PIXELS = 2**40


class OutlineColumns:
    """What a reader has found so far, one outline for each object, if only an empty one."""

    def __init__(self) -> None:
        self.parts, self.corners, self.points = array("q"), array("q"), array("f")
        self.texts, self.lengths, self.coded_wh = bytearray(), array("q"), array("l")

    def add_nothing(self) -> None:
        self.add_polygons([])

    def add_polygons(self, polygons: Sequence[Sequence[float]]) -> None:
        """x, y, x, y, ... each; those of fewer than three corners say nothing. Raises TypeError for what is no number,
        OverflowError for what no float32 holds.
        """
        some = [array("f", one[: len(one) // 2 * 2]) for one in polygons if len(one) >= FEWEST]
        self.parts.append(len(some))
        self.lengths.append(0)
        self.coded_wh.extend((0, 0))
        for one in some:
            self.corners.append(len(one) // 2)
            self.points.extend(one)

    def add_runs(self, text: bytes, size_wh: tuple[int, int]) -> None:
        """Run lengths as COCO compresses them."""
        self.parts.append(0)
        self.lengths.append(len(text))
        self.coded_wh.extend(size_wh)
        self.texts += text

    def add_segmentation(self, segmentation: Any) -> None:
        """As COCO has it: polygons ([[x, y, x, y, ...], ...]) or a mask ({"size": [h, w], "counts": ...}).

        What is neither, and what is not inside any image, is no outline.
        """
        try:
            if isinstance(segmentation, dict):
                self.add_runs(*run_lengths(segmentation))
                return
            polygons = segmentation if segmentation and isinstance(segmentation[0], list) else [segmentation or []]
            if not np.isfinite([value for polygon in polygons for value in polygon]).all():
                polygons = []
            self.add_polygons(polygons)
        except (TypeError, ValueError, KeyError, IndexError, OverflowError):
            self.add_nothing()

    def finish(self) -> Outlines:
        part_starts, point_starts, code_starts = map(starts_of, (self.parts, self.corners, self.lengths))
        return Outlines(
            part_starts, point_starts, np.array(self.points, dtype=np.float32).reshape(-1, 2), code_starts,
            np.frombuffer(bytes(self.texts), dtype=np.int8), np.array(self.coded_wh, dtype=np.int32).reshape(-1, 2),
        )  # fmt: skip


def run_lengths(segmentation: dict[str, Any]) -> tuple[bytes, tuple[int, int]]:
    """Compressed, and width and height of their image. Raises ValueError and others if they are none, or empty."""
    height, width = map(int, segmentation["size"])
    counts = segmentation["counts"]
    runs = runs_of_text(counts) if isinstance(counts, str) else np.array([int(run) for run in counts], dtype=np.int64)
    if min(height, width) < 1 or height * width > MOST_PIXELS or runs.min() < 0 or runs.sum() > height * width:
        raise ValueError("the runs do not fit the image")
    if not runs[1::2].any():
        raise ValueError("nothing is inside")
    return text_of_runs(runs), (width, height)
