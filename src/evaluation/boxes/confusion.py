"""Which classes of boxes are taken for which, with a background for what is missed and for what is not there.

Shapes: M true boxes, D detections, P pairs of both, K classes.
"""

import numpy as np

from src.evaluation.boxes.matches import HALF, IOU_THRESHOLDS, Ints, Matches
from src.evaluation.confusion import ConfusionCounts, count_confusions


def count_box_confusions(accepted: Matches) -> ConfusionCounts:
    """Of these detections (`Matches.accepted`), counted in K + 1 classes, of which the last, K, is the background.

    Rule: pairs of a detection and a true box with an IoU of at least 0.5 are joined whatever their classes, the largest
    IoU first (of equal ones the higher score), each detection and each box once. True boxes that are left are answered
    with background (missed), detections that are left have background as their true class (false alarms). Crowds, and
    detections that are left and of which at least half lies in a crowd of their class, are not counted.
    """
    background = accepted.classes
    detection, box = _closest_pairs(accepted)
    answer_M = np.full(len(accepted.class_M), background)
    answer_M[box] = accepted.class_D[detection]
    alone_D = np.ones(len(accepted.class_D), dtype=np.bool_)
    alone_D[detection] = False
    alone_D[accepted.detection_P[accepted.crowd_M[accepted.box_P]]] = False
    false_alarms, counted_M = accepted.class_D[alone_D], ~accepted.crowd_M
    predicted = np.concatenate([answer_M[counted_M], false_alarms])
    true = np.concatenate([accepted.class_M[counted_M], np.full(len(false_alarms), background)])
    return count_confusions(predicted, true, background + 1)


def _closest_pairs(matches: Matches) -> tuple[Ints, Ints]:
    """Detections and their true boxes.

    A pair that comes first for both its detection and its box is joined whatever the others do, so all such pairs go
    together; what remains follows in a few more rounds.
    """
    rows = np.flatnonzero((matches.iou_P >= IOU_THRESHOLDS[HALF]) & ~matches.crowd_M[matches.box_P])
    rows = rows[np.lexsort((-matches.score_D[matches.detection_P[rows]], -matches.iou_P[rows]))]
    joined = [rows[:0]]
    while len(rows):
        detection, box = matches.detection_P[rows], matches.box_P[rows]
        firsts = [np.unique(one, return_index=True)[1] for one in (detection, box)]
        chosen = np.intersect1d(firsts[0], firsts[1])
        joined.append(rows[chosen])
        rows = rows[~np.isin(detection, detection[chosen]) & ~np.isin(box, box[chosen])]
    pairs = np.concatenate(joined)
    return matches.detection_P[pairs].astype(np.int64), matches.box_P[pairs].astype(np.int64)
