"""Boxes that cannot be as they are written: repaired where one meaning is left, else dropped. Imports no torch.

Shapes: M boxes.
"""

import numpy as np
import numpy.typing as npt

FINE = ""
ROUNDING_PX = 1.0  # by which boxes may reach beyond their image, since tools round, before it is worth a word
Floats = npt.NDArray[np.float64]


def repaired(
    boxes_xyxy: Floats, sizes: npt.NDArray[np.int64], two_corners: bool
) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.object_]]:
    """Boxes [M, 4] cut at the edges of images of these sizes [M, 2]; which of them can be used, bool [M]; and what is
    wrong with each, a word of BOX_KINDS or FINE, [M].

    Corners may be swapped if a file writes `two_corners`. With a corner and a size, a negative size has no one meaning.
    """
    kinds = np.full(len(boxes_xyxy), FINE, dtype=object)
    broken = np.asarray(~np.isfinite(boxes_xyxy).all(axis=1))
    boxes = np.where(broken[:, None], 0.0, boxes_xyxy)
    begin, end = boxes[:, :2], boxes[:, 2:]
    swapped = (begin > end).any(axis=1) & two_corners
    if two_corners:
        begin, end = np.minimum(begin, end), np.maximum(begin, end)
    empty = (begin >= end).any(axis=1)
    sized = (sizes > 0).all(axis=1)
    beyond = (np.maximum(-begin, end - sizes) > ROUNDING_PX).any(axis=1)
    begin, end = np.clip(begin, 0, sizes), np.clip(end, 0, sizes)
    outside = (begin.astype(np.float32) >= end.astype(np.float32)).any(axis=1)
    # The first that applies comes last.
    for which, kind in (
        (beyond, "beyond"), (swapped, "swapped"), (outside, "outside"), (empty, "no_size"), (~sized, "no_image_size"),
        (broken, "not_a_number"),
    ):  # fmt: skip
        kinds[which] = kind
    usable = np.asarray(~(outside | empty | broken) & sized)
    return np.concatenate([begin, end], axis=1), usable, kinds
