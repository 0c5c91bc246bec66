"""From a small mask of a box to the pixels of an image. Imports no torch.

Shapes: S side of the small mask, h and w pixels inside the box.
"""

import math

import numpy as np
import numpy.typing as npt

from src.evaluation.pixels.crops import Crop

FULL = 255  # the probability 1, where probabilities are bytes
HALF = FULL / 2


def pasted(mask_SS: npt.NDArray[np.uint8], box_xyxy: npt.ArrayLike) -> Crop:
    """The pixels whose middle lies in the box and where the mask, probabilities 0..FULL, is more than half.

    Between the middles of the mask's cells it is interpolated, and beyond the outer ones it stays as they are.
    """
    left, top, right, bottom = np.asarray(box_xyxy, dtype=np.float64).tolist()
    columns, rows = middles_in(left, right), middles_in(top, bottom)
    if not len(columns) or not len(rows):
        return Crop.empty()
    across = weights(columns, left, right, mask_SS.shape[1])
    down = weights(rows, top, bottom, mask_SS.shape[0])
    return Crop(columns.start, rows.start, down @ mask_SS.astype(np.float32) @ across.T > HALF)


def middles_in(start: float, end: float) -> range:
    """The pixels of a row, from 0 on, whose middles lie there."""
    return range(max(math.ceil(start - 0.5), 0), math.ceil(end - 0.5))


def weights(pixels: range, start: float, end: float, cells: int) -> npt.NDArray[np.float32]:
    """By which each pixel takes of each of the cells that divide start to end, [pixels, cells]."""
    places = (np.arange(pixels.start, pixels.stop) + 0.5 - start) * (cells / (end - start)) - 0.5
    distances = np.abs(np.clip(places, 0, cells - 1)[:, None] - np.arange(cells))
    return np.asarray(np.maximum(1 - distances, 0), dtype=np.float32)
