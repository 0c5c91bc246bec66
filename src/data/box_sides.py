"""How large things in an image are at the network's size. Imports no torch. Shapes: N images."""

import numpy as np
import numpy.typing as npt

from src.models.preprocessing import Preprocessing

LEAST_SIDE_PX = 1.0  # of a box at the network's size: smaller ones are dropped in training


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
