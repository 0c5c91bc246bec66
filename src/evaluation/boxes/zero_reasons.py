"""Why AP is 0: words for the log."""

import numpy as np

from src.evaluation.boxes.matches import HALF, IOU_THRESHOLDS, Matches
from src.evaluation.boxes.overlaps import LEAST


def why_zero(matches: Matches) -> str:
    """What was predicted, with what scores, how near the boxes came, and whether the classes alone are wrong."""
    if not matches.countable().any():
        return f"there is no true box to be found in these {matches.images:,} images"
    if not len(matches.class_D):
        return (
            f"no box was predicted in any of the {matches.images:,} images: every score is below the network's own "
            "limit, as at the start of a training, or after one with too low or too high a learning rate"
        )
    shown = len(np.unique(matches.image_D))
    said = (
        f"predicted boxes: {len(matches.class_D):,}, in {shown:,} of {matches.images:,} images; "
        f"highest score {matches.score_D.max():.3f}; "
    )
    near_P = ~matches.crowd_M[matches.box_P]
    if not near_P.any():
        return f"{said}none overlaps a true box with an IoU of {LEAST} or more: places or sizes are wrong"
    best = float(matches.iou_P[near_P].max())
    half = IOU_THRESHOLDS[HALF]
    said += f"best IoU with a true box of any class {best:.2f}"
    if best < half:
        return f"{said}, and at least {half} is needed: the boxes are not yet in place"
    close_P = near_P & (matches.iou_P >= half)
    same_P = matches.class_D[matches.detection_P] == matches.class_M[matches.box_P]
    if (close_P & same_P).any():
        return f"{said}: there are right boxes, so AP is small and not 0"
    number = len(np.unique(matches.detection_P[close_P]))
    return f"{said}; boxes with an IoU of at least {half}: {number:,}, all with a wrong class"


def why_class_is_zero(matches: Matches, k: int, class_names: list[str]) -> str:
    """The same of one class that has true boxes: what was predicted of it, or what its boxes were taken for."""
    mine_P = (matches.class_M[matches.box_P] == k) & ~matches.crowd_M[matches.box_P]
    mine_D = matches.class_D == k
    boxes = int((matches.countable() & (matches.class_M == k)).sum())
    if not mine_D.any():
        said = f"no box of it was predicted, and there are {boxes:,}"
    else:
        same_P = mine_P & mine_D[matches.detection_P]
        best = float(matches.iou_P[same_P].max(initial=0.0))
        near = f"the best IoU with one of its {boxes:,} true boxes is {best:.2f}" if best else "none is near one"
        said = f"predicted boxes: {mine_D.sum():,}, highest score {matches.score_D[mine_D].max():.3f}, {near}"
    other_P = mine_P & (matches.iou_P >= IOU_THRESHOLDS[HALF]) & ~mine_D[matches.detection_P]
    if not other_P.any():
        return said
    counts_K = np.bincount(matches.class_D[matches.detection_P[other_P]], minlength=matches.classes)
    taken = len(np.unique(matches.box_P[other_P]))
    return f"{said}; {taken:,} of its boxes were found as another class, most often as {class_names[counts_K.argmax()]}"
