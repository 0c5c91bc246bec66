"""What kinds of errors there are, and what each costs: TIDE (Bolya et al. 2020, arXiv 2008.08115).

Shapes: M true boxes, D detections, P pairs of both, K classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from src.evaluation.boxes.average_precision import RankedDetections, mean_of_known
from src.evaluation.boxes.matches import HALF, IGNORED, IOU_THRESHOLDS, RIGHT, WRONG, Bools, Floats, Ints, Matches

KINDS = ("wrong class", "badly placed", "both", "duplicate", "background", "missed")
CLASS, PLACE, BOTH, DUPLICATE, BACKGROUND, MISSED = range(6)
NONE = -1  # right or ignored


@dataclass(frozen=True)
class Errors:
    """By kind: how many there are, and what AP50 would gain without them (dAP, 0..1; the higher, the more they cost).

    Gains of the kinds do not add up. NaN if there are no true boxes.
    """

    counts: dict[str, int]
    gains: dict[str, float]


def split_errors(matches: Matches) -> Errors:
    """Each wrong detection at IoU 0.5 has one kind, the first of these that holds (the order of the authors' code):

    - badly placed: largest IoU with a true box of its class from 0.1 to 0.5
    - wrong class: IoU of at least 0.5 with a true box of another class
    - duplicate: IoU of at least 0.5 with a true box of its class, which a better detection has found
    - both: IoU from 0.1 to 0.5 with a true box of another class
    - background: IoU below 0.1 with all true boxes

    Missed are true boxes that are not found and at which no wrong class and no badly placed detection points. Mended
    means: a wrong class or place becomes right if its true box is not found, and the best such detection alone, the
    others of this kind go away; duplicates, both and background go away; missed true boxes do not count (without any
    other the gain is 1). Other than in the authors' code, AP50 is a mean of the classes that have true boxes.
    """
    kind_D, target_D = _kinds(matches)
    mendable_D = _best_of_target(matches, kind_D, target_D)
    aimed_M = np.zeros(len(matches.class_M), dtype=np.bool_)
    aimed_M[target_D[mendable_D]] = True
    missed_M = matches.missed() & ~aimed_M
    counts = [*np.bincount(kind_D[kind_D != NONE], minlength=MISSED).tolist(), int(missed_M.sum())]
    verdict_D, true_K = matches.verdicts(), matches.true_counts()
    now = _ap50(matches, verdict_D, true_K)
    mended = []
    for kind in range(MISSED):
        right_D, these_D = mendable_D & (kind_D == kind), kind_D == kind
        others = replace(matches, class_D=_with_class_of_target(matches, right_D, target_D))
        mended.append(_ap50(others, np.where(right_D, RIGHT, np.where(these_D, IGNORED, verdict_D)), true_K))
    missed_K = np.bincount(matches.class_M[missed_M], minlength=matches.classes)
    remains = (true_K > missed_K).any()
    mended.append(_ap50(matches, verdict_D, true_K - missed_K) if remains else now + float(missed_M.any()))
    gains = [float(np.maximum(one - now, 0.0)) for one in mended]  # below 0 by rounding alone
    return Errors(dict(zip(KINDS, counts, strict=True)), dict(zip(KINDS, gains, strict=True)))


def _kinds(matches: Matches) -> tuple[Ints, Ints]:
    """Kind of each detection, and the true box at which a wrong class or place points; [D], NONE for none."""
    same_P = matches.class_D[matches.detection_P] == matches.class_M[matches.box_P]
    iou_D, box_D = _closest(matches, same_P)
    other_iou_D, other_box_D = _closest(matches, ~same_P)
    foreground = IOU_THRESHOLDS[HALF]
    conditions = [
        matches.verdicts() != WRONG,
        (iou_D > 0) & (iou_D < foreground),
        other_iou_D >= foreground,
        iou_D >= foreground,
        other_iou_D > 0,
    ]
    kind_D = np.select(conditions, [NONE, PLACE, CLASS, DUPLICATE, BOTH], BACKGROUND)
    return kind_D, np.select([kind_D == PLACE, kind_D == CLASS], [box_D, other_box_D], NONE)


def _closest(matches: Matches, kept_P: Bools) -> tuple[Floats, Ints]:
    """Largest IoU [D] among these pairs, 0 if below 0.1, and its true box [D]. Wrong detections lie in no crowd."""
    rows = np.flatnonzero(kept_P)
    order = np.lexsort((-matches.box_P[rows], matches.iou_P[rows], matches.detection_P[rows]))
    rows = rows[order]
    last = rows[np.flatnonzero(np.diff(matches.detection_P[rows], append=-1))]  # the closest of each detection
    iou_D, box_D = np.zeros(len(matches.class_D)), np.full(len(matches.class_D), NONE)
    iou_D[matches.detection_P[last]] = matches.iou_P[last]
    box_D[matches.detection_P[last]] = matches.box_P[last]
    return iou_D, box_D


def _best_of_target(matches: Matches, kind_D: Ints, target_D: Ints) -> Bools:
    """Of the wrong classes and places that point at the same missed box, the one with the highest score."""
    rows = np.flatnonzero(np.isin(kind_D, (CLASS, PLACE)))
    rows = rows[matches.missed()[target_D[rows]]]
    rows = rows[np.lexsort((rows, -matches.score_D[rows]))]
    best_D = np.zeros(len(kind_D), dtype=np.bool_)
    best_D[rows[np.unique(target_D[rows], return_index=True)[1]]] = True
    return best_D


def _with_class_of_target(matches: Matches, changed_D: Bools, target_D: Ints) -> Ints:
    class_D = matches.class_D.copy()
    class_D[changed_D] = matches.class_M[target_D[changed_D]]
    return class_D


def _ap50(matches: Matches, verdict_D: npt.NDArray[np.integer], true_K: Floats) -> float:
    ranked = RankedDetections(
        matches.image_D, matches.class_D, matches.score_D, verdict_D.astype(np.uint8)[:, None], matches.classes
    )
    return mean_of_known(ranked.average_precision(true_K, np.ones(matches.images))[0])
