"""Which detections and true boxes of the same image overlap, for all images together.

Shapes: M true boxes, D detections, P pairs of both.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from src.evaluation.boxes.matches import Bools, Floats, Ints, Shorts, Singles, TrueBoxes

LEAST = 0.1  # IoU below which a detection lies on background (TIDE, Bolya et al. 2020)
INSIDE_CROWD = 0.5
PAIRS_AT_ONCE = 500_000  # bounds the memory: about 100 MB


class Found(NamedTuple):
    """Detections, by ascending image: `boxes_xyxy_D4`; the image, the row within it as it was given, the class."""

    boxes_xyxy_D4: Singles
    image_D: Ints
    row_D: Ints
    class_D: Ints


class Overlaps(NamedTuple):
    """Detection, true box and IoU of the pairs [P] that `Matches` keeps, ordered by detection and box. With a crowd the
    share of the detection's area that lies in it stands in place of the IoU (COCO). And all areas, in square pixels.
    """

    detection_P: Shorts
    box_P: Shorts
    iou_P: Floats
    area_D: Singles
    area_M: Singles


Measure: TypeAlias = Callable[[Found, TrueBoxes], Overlaps]


def measure_boxes(found: Found, truth: TrueBoxes) -> Overlaps:
    """Of the boxes themselves."""
    pairs = overlapping(found.boxes_xyxy_D4, found.image_D, found.class_D, truth)
    return Overlaps(*pairs, areas(found.boxes_xyxy_D4), areas(truth.boxes_xyxy_M4))


def overlapping(
    boxes_xyxy_D4: Singles, image_D: Ints, class_D: Ints, truth: TrueBoxes
) -> tuple[Shorts, Shorts, Floats]:
    """The pairs; see Overlaps."""
    boxes_D4, boxes_M4 = boxes_xyxy_D4.astype(np.float64), truth.boxes_xyxy_M4.astype(np.float64)
    kept: list[tuple[Shorts, Shorts, Floats]] = []
    for detection_P, box_P in _pairs(image_D, truth.counts_N):
        crowd_P = truth.crowd_M[box_P]
        iou_P = _iou(boxes_D4[detection_P], boxes_M4[box_P], crowd_P)
        inside_P = (iou_P >= INSIDE_CROWD) & (class_D[detection_P] == truth.class_M[box_P])
        rows = np.flatnonzero(np.where(crowd_P, inside_P, iou_P >= LEAST))
        kept.append((detection_P[rows].astype(np.int32), box_P[rows].astype(np.int32), iou_P[rows]))
    if not kept:
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32), np.zeros(0)
    detections, boxes, ious = zip(*kept, strict=True)
    return np.concatenate(detections), np.concatenate(boxes), np.concatenate(ious)


def areas(boxes_xyxy: Singles) -> Singles:
    """In square pixels; 0 for boxes turned inside out."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    product: Singles = sides[:, 0] * sides[:, 1]
    return product


def _pairs(image_D: Ints, counts_N: Ints) -> Iterator[tuple[Ints, Ints]]:
    """All pairs of an image's detections and true boxes, some hundred thousand at a time."""
    starts_N = np.cumsum(counts_N) - counts_N
    partners_D = counts_N[image_D]
    ends_D = np.cumsum(partners_D)
    first = 0
    while first < len(image_D):
        done = ends_D[first] - partners_D[first]
        last = max(int(np.searchsorted(ends_D, done + PAIRS_AT_ONCE, side="right")), first + 1)
        partners = partners_D[first:last]
        detection_P = np.repeat(np.arange(first, last), partners)
        before_P = np.repeat(ends_D[first:last] - partners - done, partners)
        yield detection_P, starts_N[image_D[detection_P]] + np.arange(len(detection_P)) - before_P
        first = last


def _iou(boxes_P4: Floats, others_P4: Floats, crowd_P: Bools) -> Floats:
    common_P = intersection(boxes_P4, others_P4)
    inside_P: Floats = common_P / np.maximum(np.prod(np.maximum(boxes_P4[:, 2:] - boxes_P4[:, :2], 0), axis=1), 1e-12)
    return np.where(crowd_P, inside_P, iou(boxes_P4, others_P4))


def iou(boxes_xyxy: Floats, others_xyxy: Floats) -> Floats:
    """Intersection over union of each box and its counterpart; 0 where neither has an area. Broadcasts to [..., 4]."""
    both = intersection(boxes_xyxy, others_xyxy)
    areas = [np.prod(np.maximum(one[..., 2:] - one[..., :2], 0), axis=-1) for one in (boxes_xyxy, others_xyxy)]
    return np.asarray(both / np.maximum(areas[0] + areas[1] - both, 1e-12))


def intersection(boxes_xyxy: Floats, others_xyxy: Floats) -> Floats:
    """What a box and its counterpart have in common, in square pixels."""
    low = np.maximum(boxes_xyxy[..., :2], others_xyxy[..., :2])
    high = np.minimum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
    return np.asarray(np.prod(np.maximum(high - low, 0), axis=-1))
