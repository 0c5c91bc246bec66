"""What there is to say about boxes: twice there, too small for the network, missing. Imports no torch.

Shapes: m boxes, P pairs.
"""

import math

import numpy as np

from src.data.box_overlaps import alike_pairs
from src.data.box_sides import LEAST_SIDE_PX
from src.data.boxes import Boxes
from src.data.checking.kinds import Finding
from src.data.table import ImageTable
from src.data.targets import Rows
from src.evaluation.boxes.overlaps import iou
from src.models.preprocessing import Preprocessing

SAME_BOX = 0.95  # IoU of boxes above which they are about one object
SMALL_PX = 8.0  # side at the network's size: as far apart as the places of its finest usual level
SMALL_SHARE, MIN_BOXES = 0.1, 10  # of a class's training boxes, and how many there must be, for it to be said
MAX_NEGATIVES = 0.2  # share of images without boxes up to which each is listed: more are meant
CONFLICTS = ("label_conflict", "near_label_conflict")


def box_findings(table: ImageTable, rows: Rows, preprocessing: Preprocessing, found: list[Finding]) -> list[Finding]:
    """Of these readable images, `rows` of the table. `found`: what is known of them already."""
    targets = table.targets
    assert isinstance(targets, Boxes)
    size_px = preprocessing.crop_px
    trained = np.intersect1d(table.splits.get("train", rows[:0]), rows)
    return [
        *twice_there(targets, rows),
        *too_small_boxes(targets, rows, preprocessing, size_px),
        *small_objects(targets, trained, preprocessing, size_px),
        *no_boxes(targets, rows, {row for one in found if one.kind in CONFLICTS for row in (one.row, one.other)}),
    ]


def twice_there(targets: Boxes, rows: Rows) -> list[Finding]:
    """Each box that nearly is one before it, with the first such one, if there is any of the same class."""
    places_m, positions_m = targets.places(rows)
    kept_m = ~targets.crowd[places_m]
    places_m, positions_m = places_m[kept_m], positions_m[kept_m]
    boxes_m4, classes_m = targets.boxes_xyxy[places_m], targets.class_ids[places_m]
    first_P, second_P = alike_pairs(boxes_m4, positions_m, SAME_BOX).T
    other_class_P = classes_m[first_P] != classes_m[second_P]
    order = np.lexsort((first_P, other_class_P, second_P))
    _, starts = np.unique(second_P[order], return_index=True)
    chosen = order[starts]
    ious = iou(boxes_m4[first_P[chosen]].astype(np.float64), boxes_m4[second_P[chosen]].astype(np.float64))
    found = []
    for pair, overlap in zip(chosen.tolist(), ious.tolist(), strict=True):
        first, second = int(first_P[pair]), int(second_P[pair])
        names = [targets.names[classes_m[one]] for one in (second, first)]
        kind = "same_box_other_class" if names[0] != names[1] else "same_box"
        what = f"{names[0]}, and the same box is {names[1]}" if names[0] != names[1] else f"{names[0]} twice"
        detail = f"{what} (IoU {overlap:.2f})"
        boxes = (int(places_m[second]), int(places_m[first]))
        found.append(Finding(kind, int(rows[positions_m[second]]), detail=detail, boxes=boxes))
    return found


def too_small_boxes(targets: Boxes, rows: Rows, preprocessing: Preprocessing, size_px: int) -> list[Finding]:
    """Each box that training drops."""
    places_m, positions_m = targets.places(rows)
    sides_m2 = targets.sides_at_network(rows, preprocessing)
    dropped = (sides_m2 < LEAST_SIDE_PX).any(axis=1) & ~targets.crowd[places_m]
    return [
        Finding(
            "too_small",
            int(rows[positions_m[m]]),
            detail=f"{targets.names[targets.class_ids[places_m[m]]]}, {sides_m2[m, 0]:.3g} x {sides_m2[m, 1]:.3g} "
            f"pixels at the network's size of {size_px}",
            boxes=(int(places_m[m]),),
        )
        for m in np.flatnonzero(dropped)
    ]


def small_objects(targets: Boxes, rows: Rows, preprocessing: Preprocessing, size_px: int) -> list[Finding]:
    """Classes of which many boxes of these images have a short side at the network's size."""
    places_m, _ = targets.places(rows)
    kept_m = ~targets.crowd[places_m]
    shorter_m = targets.sides_at_network(rows, preprocessing).min(axis=1)[kept_m]
    classes_m = targets.class_ids[places_m][kept_m]
    every_K = np.bincount(classes_m, minlength=len(targets.names))
    small_K = np.bincount(classes_m[shorter_m < SMALL_PX], minlength=len(targets.names))
    found = []
    for k in np.flatnonzero((every_K >= MIN_BOXES) & (small_K >= SMALL_SHARE * every_K)).tolist():
        side = max(float(np.quantile(shorter_m[classes_m == k], SMALL_SHARE, method="lower")), 0.1)
        enough = 32 * math.ceil(size_px * SMALL_PX / side / 32)
        detail = (
            f"{small_K[k]:,} of {every_K[k]:,} training boxes ({small_K[k] / every_K[k]:.0%}) have a side under "
            f"{SMALL_PX:g} pixels at the network's size of {size_px}: a larger data.image_size_px may help (at about "
            f"{enough:,} nine in ten have that), or a network with a finer level (head.strides with 4)"
        )
        found.append(Finding("small_objects", label=targets.names[k], detail=detail))
    return found


def no_boxes(targets: Boxes, rows: Rows, known: set[int | None]) -> list[Finding]:
    """Images without boxes, where few are and they are not `known` as copies of one with boxes."""
    empty = rows[targets.values[rows, 1] == 0]
    if len(empty) > MAX_NEGATIVES * len(rows):
        return []
    detail = f"{len(rows) - len(empty):,} of {len(rows):,} images have boxes"
    return [Finding("no_boxes", row, detail=detail) for row in empty.tolist() if row not in known]
