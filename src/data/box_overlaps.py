"""Boxes that nearly are the same, found for all images at once. Imports no torch.

Shapes: M boxes, P pairs.
"""

import numpy as np
import numpy.typing as npt

from src.data.targets import Rows
from src.evaluation.boxes.overlaps import iou

SAME_PLACE = 0.5  # IoU from which two boxes are about one object
Floats = npt.NDArray[np.float32]


def alike_pairs(boxes_xyxy: Floats, image_M: Rows, least_iou: float) -> npt.NDArray[np.int64]:
    """Pairs of boxes of one image (or of whatever else `image_M` counts) whose IoU is larger than that, int64 [P, 2],
    the lower one first, sorted.

    Boxes with so large an IoU begin at nearly the same x: after sorting by it, each is compared with its neighbours
    alone, so the time grows with M log M and not with the square of what an image has.
    """
    order = np.lexsort((boxes_xyxy[:, 0], image_M))
    boxes, images = boxes_xyxy[order].astype(np.float64), image_M[order]
    # Of a box that begins later by more than this share of the width, less than the rest lies in the first one.
    reach = boxes[:, 0] + (1 - least_iou) * (boxes[:, 2] - boxes[:, 0])
    one, offset = np.arange(len(boxes)), 0
    found = [np.empty((0, 2), dtype=np.int64)]
    while len(one):
        offset += 1
        one = one[one + offset < len(boxes)]
        other = one + offset
        one = one[(images[one] == images[other]) & (boxes[other, 0] <= reach[one])]
        same = one[iou(boxes[one], boxes[one + offset]) > least_iou]
        found.append(np.sort(np.stack([order[same], order[same + offset]], axis=1), axis=1))
    pairs = np.concatenate(found)
    return pairs[np.lexsort(pairs.T[::-1])]


def unmatched(
    boxes_xyxy: Floats, classes: npt.NDArray[np.int64], others_xyxy: Floats, other_classes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which boxes of one image have no partner among those of another, and the other way round: bool [m] and [n].

    A partner has the same class and an IoU of more than 0.5; from the largest IoU down, each box gets one.
    """
    count = len(boxes_xyxy)
    both, of_both = np.concatenate([boxes_xyxy, others_xyxy]), np.concatenate([classes, other_classes])
    one_P, other_P = alike_pairs(both, of_both, SAME_PLACE).T
    across = (one_P < count) & (other_P >= count)
    one_P, other_P = one_P[across], other_P[across]
    order = np.argsort(-iou(both[one_P].astype(np.float64), both[other_P].astype(np.float64)), kind="stable")
    one_P, other_P = one_P[order], other_P[order] - count
    left_m, left_n = np.ones(len(boxes_xyxy), dtype=np.bool_), np.ones(len(others_xyxy), dtype=np.bool_)
    for one, other in zip(one_P.tolist(), other_P.tolist(), strict=True):
        if left_m[one] and left_n[other]:
            left_m[one] = left_n[other] = False
    return left_m, left_n
