"""Which detection finds which true box, by the rules of COCO.

Shapes: N images, M true boxes, D detections, P pairs of both, A ranges of area, T IoU thresholds.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from src.evaluation.boxes.matches import (
    ALL,
    HALF,
    IGNORED,
    IOU_THRESHOLDS,
    RIGHT,
    WRONG,
    Bools,
    Floats,
    Ints,
    Matches,
    Shorts,
    Singles,
    TrueBoxes,
    in_ranges,
)  # fmt: skip
from src.evaluation.boxes.overlaps import Found, Measure, measure_boxes

COUNTED = 1 << 20  # more than boxes in an image: true boxes that count are preferred to those that do not


def match(detections_ND6: Singles, truth: TrueBoxes, classes: int, measure: Measure = measure_boxes) -> Matches:
    """Match what was predicted for N images with their true boxes.

    `detections_ND6` has x1, y1, x2, y2 (pixels of the original image), score and class id; rows of class -1 are empty.
    As in COCO (cocodataset/cocoapi, pycocotools/cocoeval.py), for each image, class, threshold and range of area: from
    the highest score to the lowest (equal ones as they come), a detection takes the true box with the largest IoU of at
    least the threshold that is still free. Crowds can be taken by many. True boxes that do not count (crowds, other
    areas) are taken only if there is no other, and their detections are ignored, as are those without a true box whose
    own area is another. All detections of an image count: limits are those of the network. `measure` says what
    overlaps how much, and how large it is: of the boxes, or of what lies in them.

    Images can be matched in pieces: see `joined`.
    """
    image_D, places_D = np.nonzero(detections_ND6[:, :, 5] >= 0)
    rows_D6 = detections_ND6[image_D, places_D]
    class_D = rows_D6[:, 5].astype(np.int64)
    order = np.lexsort((-rows_D6[:, 4], class_D, image_D))  # stable
    rows_D6, image_D, class_D = rows_D6[order], image_D[order], class_D[order]
    found = Found(rows_D6[:, :4], image_D, places_D[order], class_D)
    detection_P, box_P, iou_P, area_D, area_M = measure(found, truth)
    group_D = image_D * classes + class_D
    counts_MA = in_ranges(area_M) & ~truth.crowd_M[:, None]
    rows = np.flatnonzero((class_D[detection_P] == truth.class_M[box_P]) & (iou_P >= IOU_THRESHOLDS[HALF]))
    turns = _turns(group_D, detection_P[rows], box_P[rows], iou_P[rows])
    verdict_DAT, found_D = _take_turns(turns, len(class_D), counts_MA, truth.crowd_M)
    verdict_DAT[(verdict_DAT == WRONG) & ~in_ranges(area_D)[:, :, None]] = IGNORED
    return Matches(
        images=len(detections_ND6),
        classes=classes,
        image_D=image_D,
        class_D=class_D,
        score_D=rows_D6[:, 4],
        area_D=area_D,
        rank_D=_places_within(group_D),
        verdict_DAT=verdict_DAT,
        found_D=found_D,
        image_M=truth.image_of_box,
        class_M=truth.class_M,
        area_M=area_M,
        crowd_M=truth.crowd_M,
        detection_P=detection_P,
        box_P=box_P,
        iou_P=iou_P,
    )


def _places_within(sorted_groups: npt.NDArray[np.signedinteger]) -> Ints:
    """0, 1, 2, ... within each run of equal numbers."""
    firsts = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
    return np.arange(len(sorted_groups)) - np.repeat(firsts, np.diff(firsts, append=len(sorted_groups)))


def _turns(group_D: Ints, detection_P: Shorts, box_P: Shorts, iou_P: Floats) -> Iterator[tuple[Shorts, Shorts, Floats]]:
    """Pairs that might match, first those of the best detection of each image and class, then of the second, ...

    Those of one detection stand together, the most wanted last: of equal IoU the later box, as COCO has it.
    """
    choosing, chooser_P = np.unique(detection_P, return_inverse=True)
    turn_P = _places_within(group_D[choosing])[chooser_P]
    order = np.lexsort((box_P, iou_P, detection_P, turn_P))
    ends = np.cumsum(np.bincount(turn_P))[:-1]
    for rows in np.split(order, ends) if len(order) else []:
        yield detection_P[rows], box_P[rows], iou_P[rows]


def _take_turns(
    turns: Iterator[tuple[Shorts, Shorts, Floats]], detections: int, counts_MA: Bools, crowd_M: Bools
) -> tuple[npt.NDArray[np.uint8], Ints]:
    """`verdict_DAT` and `found_D`. Within a turn no box is wanted twice, so all images and classes go together."""
    boxes, ranges = counts_MA.shape
    verdict_DAT = np.full((detections, ranges, len(IOU_THRESHOLDS)), WRONG, dtype=np.uint8)
    found_D = np.full(detections, -1, dtype=np.int64)
    taken_MAT = np.zeros((boxes, ranges, len(IOU_THRESHOLDS)), dtype=np.bool_)
    for detection_P, box_P, iou_P in turns:
        wish_P = _places_within(detection_P) + 1
        wish_PA = (wish_P[:, None] + COUNTED * counts_MA[box_P]).astype(np.int32)
        free_PAT = ~taken_MAT[box_P] | crowd_M[box_P, None, None]
        open_PAT = free_PAT & (iou_P[:, None, None] >= IOU_THRESHOLDS)
        wish_PAT = np.where(open_PAT, wish_PA[:, :, None], np.int32(0))
        best_DAT = np.maximum.reduceat(wish_PAT, np.flatnonzero(wish_P == 1), axis=0)
        got_PAT = open_PAT & (wish_PAT == best_DAT[np.cumsum(wish_P == 1) - 1])
        taken_MAT[box_P] |= got_PAT
        verdict_DAT[detection_P[wish_P == 1]] = np.where(best_DAT > COUNTED, RIGHT, np.where(best_DAT, IGNORED, WRONG))
        got_P = got_PAT[:, ALL, HALF]
        found_D[detection_P[got_P]] = box_P[got_P]
    return verdict_DAT, found_D
