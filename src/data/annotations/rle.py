"""Boxes around COCO's masks: polygons, and run lengths, plain or compressed, without decoding the pixels.

src/evaluation/pixels/run_lengths.py says what runs are.
"""

from typing import Any

import numpy as np

from src.evaluation.pixels.run_lengths import Runs, runs_of_text

Box = tuple[float, float, float, float]  # x, y, width, height in pixels
MOST_PIXELS = 2**40


def box_of_segmentation(segmentation: Any) -> Box | None:
    """Around polygons ([[x, y, x, y, ...], ...]) or a mask ({"size": [h, w], "counts": ...}).

    None if it is neither, or if nothing is in it.
    """
    try:
        if isinstance(segmentation, dict):
            height, width = map(int, segmentation["size"])
            counts = segmentation["counts"]
            runs = runs_of_text(counts) if isinstance(counts, str) else np.array([int(run) for run in counts])
            return box_of_runs(runs, height, width)
        return box_of_polygons(segmentation)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        return None


def box_of_polygons(polygons: Any) -> Box | None:
    """A flat list of numbers counts as one polygon. Raises TypeError and ValueError for what is none."""
    if polygons and not isinstance(polygons[0], list):
        polygons = [polygons]
    xs = [float(x) for polygon in polygons for x in polygon[: len(polygon) // 2 * 2 : 2]]
    ys = [float(y) for polygon in polygons for y in polygon[1::2]]
    return (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)) if xs else None


def box_of_runs(runs: Runs, height: int, width: int) -> Box | None:
    """Raises ValueError where the runs do not fit the image."""
    ends = np.cumsum(runs)
    if height < 1 or height * width > MOST_PIXELS or (len(ends) and ends[-1] > height * width) or runs.min() < 0:
        raise ValueError("the runs do not fit the image")
    starts, ends = ends[:-1:2], ends[1::2]  # of what is inside, `ends` exclusive
    starts, ends = starts[starts < ends], ends[starts < ends]
    if not len(starts):
        return None
    first_columns, last_columns = starts // height, (ends - 1) // height
    left, right = int(first_columns.min()), int(last_columns.max()) + 1
    over = first_columns < last_columns  # such a run covers the end of a column and the beginning of the next
    top = int(np.where(over, 0, starts % height).min())
    bottom = int(np.where(over, height, (ends - 1) % height + 1).max())
    return left, top, right - left, bottom - top
