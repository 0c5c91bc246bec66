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
