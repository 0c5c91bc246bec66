"""How large boxes are at the network's size, and what training then drops. Imports no torch.

Shapes: N images, m boxes.
"""

import numpy as np
import numpy.typing as npt

from src.data.box_overlaps import LEAST_SIDE_PX
from src.data.boxes import Boxes
from src.data.targets import Rows
from src.models.preprocessing import Preprocessing


def network_scale(sizes_wh: npt.NDArray[np.int64], preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """Pixels of the network for one of the image, across and down, of images of these sizes [N, 2]. float32 [N, 2].

    As src/data/transforms.py resizes them: a test compares the two.
    """
    longer_px, shorter_px = preprocessing.crop_px, preprocessing.resize_px
    if preprocessing.resize_mode == "stretch":
        return np.asarray(longer_px / sizes_wh, dtype=np.float32)
    shorter_N1, longer_N1 = sizes_wh.min(axis=1, keepdims=True), sizes_wh.max(axis=1, keepdims=True)
    by_longer_N1 = longer_px * shorter_N1 <= shorter_px * longer_N1
    wanted_N1, side_N1 = np.where(by_longer_N1, longer_px, shorter_px), np.where(by_longer_N1, longer_N1, shorter_N1)
    return np.asarray(np.maximum(1, wanted_N1 * sizes_wh // side_N1) / sizes_wh, dtype=np.float32)


def sides_at_network(targets: Boxes, rows: Rows, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """Width and height in pixels of the network, of all boxes of these images. float32 [m, 2]."""
    places_m, positions_m = targets.places(rows)
    scale_m2 = network_scale(targets.values[rows, 2:], preprocessing)[positions_m]
    boxes_m4 = targets.boxes_xyxy[places_m]
    return np.asarray((boxes_m4[:, 2:] - boxes_m4[:, :2]) * scale_m2)


def too_small_notes(targets: Boxes, rows: Rows, preprocessing: Preprocessing) -> list[str]:
    """A sentence about boxes of these images that training drops; none if there are none."""
    places_m, positions_m = targets.places(rows)
    dropped_m = (sides_at_network(targets, rows, preprocessing) < LEAST_SIDE_PX).any(axis=1) & ~targets.crowd[places_m]
    if not (count := int(dropped_m.sum())):
        return []
    images = len(np.unique(positions_m[dropped_m]))
    return [
        f"{count:,} of {len(places_m):,} training boxes, in {images:,} images, have a side under {LEAST_SIDE_PX:g} "
        f"pixel at the network's size ({preprocessing.crop_px}): they are not trained on. A larger data.image_size_px "
        "keeps them; src.check lists them."
    ]
