"""Boxes of several detectors around one object, made into one box (weighted box fusion).

Shapes: M detectors, D boxes of all of them for one image and class.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

FUSED_IOU = 0.55  # as in the paper; since a detector has one box in a cluster, 0.5 to 0.7 give the same AP on scenes


def fused_boxes(parts: Sequence[Tensor]) -> Tensor:
    """Rows x1, y1, x2, y2, score, class id [m, 6], the highest score first, of those of M detectors, [d, 6] each.

    Solovyev, Wang, Gabruseva 2021, arXiv 1910.13302: boxes of a class that overlap by more than FUSED_IOU become one,
    whose sides are the mean of theirs, weighted by score. Its score is the sum of theirs over M, so that a box which
    few detectors found has a low one. Unlike there, each detector has at most one box in it: two boxes that a detector
    kept apart are two objects for it (scripts/ensemble_benchmark.py: AP 0.807 on scenes of digits, 0.806 without this).
    """
    members = torch.cat([torch.full((len(part),), m) for m, part in enumerate(parts)])
    rows_D6 = torch.cat([part.cpu() for part in parts])
    order_D = rows_D6[:, 4].argsort(descending=True, stable=True)
    rows_D6, members = rows_D6[order_D], members[order_D]
    classes = sorted(set(rows_D6[:, 5].tolist()))
    fused = [fused_of_class(rows_D6[rows_D6[:, 5] == k], members[rows_D6[:, 5] == k], len(parts)) for k in classes]
    rows = torch.cat([rows_D6[:0], *fused])
    return rows[rows[:, 4].argsort(descending=True, stable=True)].to(parts[0].device)


def fused_of_class(rows_D6: Tensor, members_D: Tensor, detectors: int) -> Tensor:
    """Of one class, the surest box first."""
    sums_D6 = torch.zeros(len(rows_D6), 6)  # of each cluster: sides times score, score, class
    has_DM = torch.zeros(len(rows_D6), detectors, dtype=torch.bool)
    clusters = 0
    for row_6, m in zip(rows_D6, members_D.tolist(), strict=True):
        boxes = sums_D6[:clusters, :4] / sums_D6[:clusters, 4:5]
        overlaps = box_iou(row_6[None, :4], boxes)[0].masked_fill(has_DM[:clusters, m], 0) if clusters else row_6[:0]
        near = clusters > 0 and overlaps.max() > FUSED_IOU
        place = int(overlaps.argmax()) if near else clusters
        clusters += not near
        sums_D6[place] += torch.cat([row_6[:4] * row_6[4], row_6[4:5], row_6[:1] * 0])
        has_DM[place, m] = True
    score_m1 = sums_D6[:clusters, 4:5]
    class_m1 = rows_D6[:1, 5:].expand(clusters, 1)
    return torch.cat([sums_D6[:clusters, :4] / score_m1, score_m1 / detectors, class_m1], dim=1)
