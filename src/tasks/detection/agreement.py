"""How far two answers to one image are apart, such as those of a checkpoint and of its exported file. No torch.

Shapes: M and N boxes of either answer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from src.evaluation.boxes.overlaps import iou
from src.evaluation.prediction import TIE, Floats, Outputs

SAME_IOU = 0.99  # of a box and its counterpart
SAME_OBJECT_IOU = 0.5  # of two boxes around one object
SLIVER_PX = 0.1  # side of a box of which rounding decides whether it is there at all
# Of all boxes: where two faint ones that exclude each other have equal scores up to rounding, either of them may stay,
# and with it or without it others that it excludes.
FAINT_SHARE = 0.01
NEAR_IOU = 1e-3  # boxes that overlap by the most that is allowed, give or take this, may go or stay


@dataclass(frozen=True)
class Answer:
    """The boxes of one image, the highest score first, as DetectionPrediction has them."""

    boxes_xyxy: Floats
    scores: Floats
    class_ids: npt.NDArray[np.int64]

    @classmethod
    def of(cls, outputs: Outputs, image: int) -> "Answer":
        ids = outputs["labels"][image].astype(np.int64)
        found = ids >= 0
        return cls(outputs["boxes"][image][found], outputs["scores"][image][found], ids[found])

    def kept(self, mask_M: npt.NDArray[np.bool_]) -> "Answer":
        return Answer(self.boxes_xyxy[mask_M], self.scores[mask_M], self.class_ids[mask_M])


@dataclass(frozen=True)
class Limits:
    """By which a detector drops boxes: where a score or an overlap is next to one, rounding decides.

    `floor`: of the scores of all boxes; `most`: boxes of an image; `most_iou`: of two boxes of a class; `thresholds`:
    of the scores of answers, by class.
    """

    floor: float
    most: int
    most_iou: float
    thresholds: Floats


def same_objects(one: Answer, other: Answer, limits: Limits) -> bool:
    """Whether both answers, at the thresholds, have the same objects; scores near one may lie on either side."""
    for a, b in ((one, other), (other, one)):
        clear = a.kept(a.scores >= limits.thresholds[a.class_ids] + TIE)
        near = b.kept(b.scores >= limits.thresholds[b.class_ids] - TIE)
        if (counterparts(clear, near, SAME_OBJECT_IOU) < 0).any():
            return False
    return True


def differences(one: Answer, other: Answer, limits: Limits) -> tuple[float, list[float]]:
    """The largest one of the scores of a box and its counterpart, where an answer without one counts with its whole
    score; and the scores of boxes below the thresholds that have none.

    Boxes that rounding alone can add or drop do not count, and neither does their order where scores are this near.
    """
    largest, faint = 0.0, []
    for a, b in ((one, other), (other, one)):
        partner_M = counterparts(a, b, SAME_IOU)
        has_one = partner_M >= 0
        alone = a.kept(~has_one & ~dropped_by_rounding(a, b, limits))
        answers = alone.scores >= limits.thresholds[alone.class_ids] - TIE
        apart = np.abs(a.scores[has_one] - b.scores[partner_M[has_one]])
        largest = max([largest, *apart.tolist(), *alone.scores[answers].tolist()])
        faint += alone.scores[~answers].tolist()
    ordered = all((np.diff(answer.scores) <= TIE).all() for answer in (one, other))
    return largest if ordered else 1.0, faint


def dropped_by_rounding(one: Answer, other: Answer, limits: Limits) -> npt.NDArray[np.bool_]:
    """Which boxes of `one` the other may lack: bool [M].

    Slivers; those at the end of what is kept; and those that overlap a better box by just about what is allowed.
    """
    lowest = other.scores[-1] if len(other.scores) >= limits.most else 0.0
    near_end_M = one.scores <= max(limits.floor, lowest) + TIE
    ious_MM = iou_of_class(one, one)
    better_MM = np.arange(len(one.scores))[:, None] > np.arange(len(one.scores))
    at_limit_M = ((ious_MM > limits.most_iou - NEAR_IOU) & better_MM).any(axis=1)
    sliver_M = (one.boxes_xyxy[:, 2:] - one.boxes_xyxy[:, :2]).min(axis=1, initial=np.inf) < SLIVER_PX
    return np.asarray(sliver_M | near_end_M | at_limit_M)


def counterparts(one: Answer, other: Answer, least_iou: float) -> npt.NDArray[np.int64]:
    """For each box the index of that one of the other answer that is its own, or -1; the best ones choose first."""
    ious_MN = iou_of_class(one, other)
    partner_M = np.full(len(one.scores), -1, dtype=np.int64)
    for m in range(len(partner_M) if len(other.scores) else 0):
        n = int(ious_MN[m].argmax())
        if ious_MN[m, n] > least_iou:
            partner_M[m] = n
            ious_MN[:, n] = 0
    return partner_M


def iou_of_class(one: Answer, other: Answer) -> Floats:
    """[M, N]; 0 of different classes."""
    ious_MN = iou(one.boxes_xyxy[:, None].astype(np.float64), other.boxes_xyxy[None].astype(np.float64))
    return np.where(one.class_ids[:, None] == other.class_ids[None], ious_MN, 0).astype(np.float32)


def compare(expected: Outputs, found: Outputs, limits: Limits) -> tuple[int, float]:
    """Of several images: how many have the same objects, and the largest difference of a score.

    Boxes below the thresholds that have no counterpart count if they are more than FAINT_SHARE of all boxes.
    """
    pairs = [(Answer.of(expected, n), Answer.of(found, n)) for n in range(len(expected["labels"]))]
    same = sum(same_objects(one, other, limits) for one, other in pairs)
    largest, faint = zip(*(differences(one, other, limits) for one, other in pairs), strict=True)
    alone, boxes = [score for scores in faint for score in scores], sum(len(a.scores) + len(b.scores) for a, b in pairs)
    return same, max([*largest, *(alone if len(alone) > FAINT_SHARE * boxes else [])])
