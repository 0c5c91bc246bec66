"""Which masks of detections and of true objects overlap: one image at a time, since masks are large.

Shapes: N images, M true objects, D detections, P pairs, S side of a detection's mask in its box.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from src.evaluation.boxes.matches import Ints, TrueBoxes
from src.evaluation.boxes.overlaps import INSIDE_CROWD, LEAST, Found, Overlaps
from src.evaluation.pixels.crops import Crop
from src.evaluation.pixels.pasting import pasted

Masks = npt.NDArray[Any]


class MaskMeasure:
    """`masks`: uint8 [N, rows, S, S], probabilities as `pasted` has them, or the Crops themselves, object [N, rows];
    `true_crops` of the image with this number, in the order of the true boxes.
    """

    def __init__(self, masks: Masks, true_crops: Callable[[int], Sequence[Crop]]) -> None:
        self.masks, self.true_crops = masks, true_crops

    def __call__(self, found: Found, truth: TrueBoxes) -> Overlaps:
        """Areas are numbers of pixels."""
        ends_N = np.cumsum(truth.counts_N)
        area_D, area_M = np.zeros(len(found.class_D)), np.zeros(len(truth.class_M))
        pairs: list[tuple[int, int, float]] = []
        for n, (end, count) in enumerate(zip(ends_N.tolist(), truth.counts_N.tolist(), strict=True)):
            first, last = np.searchsorted(found.image_D, (n, n + 1)).tolist()
            boxes = zip(found.row_D[first:last].tolist(), found.boxes_xyxy_D4[first:last], strict=True)
            crops = [self.crop(n, row, box) for row, box in boxes]
            true = list(self.true_crops(n))
            area_D[first:last], area_M[end - count : end] = areas(crops), areas(true)
            crowd = truth.crowd_M[end - count : end]
            same = found.class_D[first:last, None] == truth.class_M[end - count : end]
            pairs += [(d + first, m + end - count, share) for d, m, share in image_pairs(crops, true, crowd, same)]
        detections, objects, shares = zip(*pairs, strict=True) if pairs else ((), (), ())
        return Overlaps(
            np.array(detections, dtype=np.int32), np.array(objects, dtype=np.int32), np.array(shares, dtype=np.float64),
            area_D.astype(np.float32), area_M.astype(np.float32),
        )  # fmt: skip

    def crop(self, n: int, row: int, box_4: npt.NDArray[np.float32]) -> Crop:
        mask = self.masks[n][row]
        return mask if isinstance(mask, Crop) else pasted(mask, box_4)


def areas(crops: Sequence[Crop]) -> Ints:
    return np.array([crop.area for crop in crops], dtype=np.int64)


def image_pairs(
    found: Sequence[Crop], true: Sequence[Crop], crowd: npt.NDArray[np.bool_], same_class: npt.NDArray[np.bool_]
) -> list[tuple[int, int, float]]:
    """Detection, true object and IoU of those pairs of an image that `Matches` keeps; `same_class` of all pairs."""
    pairs = []
    true_areas = areas(true).tolist()
    for d, crop in enumerate(found):
        area = crop.area
        for m, other in enumerate(true):
            if not (common := crop.common(other)):
                continue
            share = common / (area if crowd[m] else area + true_areas[m] - common)
            if (same_class[d, m] and share >= INSIDE_CROWD) if crowd[m] else share >= LEAST:
                pairs.append((d, m, share))
    return pairs
