"""Pixels by true and found class of single images, as the pairs of classes that occur: of 200 classes an image has some
hundred of 40,000.

Shapes: N images, K classes, M pairs: as many as the image with the most has, filled up with zeros. Of a pair int32
(true class * K + found class, its pixels).
"""

import numpy as np
import numpy.typing as npt

from src.evaluation.intervals import Ints
from src.evaluation.pixels.confusion import PixelSums

Pairs = npt.NDArray[np.int32]


def sums_of_images(pairs_NM2: Pairs, classes: int) -> PixelSums:
    """Of each image, int64 [N, K]."""
    codes_NM, counts_NM = pairs_NM2[..., 0], pairs_NM2[..., 1]
    true_NM, found_NM = np.divmod(codes_NM, classes)
    return PixelSums(
        right=_counted(true_NM, np.where(true_NM == found_NM, counts_NM, 0), classes),
        true=_counted(true_NM, counts_NM, classes),
        found=_counted(found_NM, counts_NM, classes),
    )


def _counted(classes_NM: Pairs, counts_NM: Pairs, classes: int) -> Ints:
    places_NM = np.arange(len(classes_NM))[:, None] * classes + classes_NM
    return _summed(places_NM, counts_NM, len(classes_NM) * classes).reshape(-1, classes)


def confusion_of_images(pairs_NM2: Pairs, classes: int) -> Ints:
    """Of all together, int64 [K, K]."""
    return _summed(pairs_NM2[..., 0], pairs_NM2[..., 1], classes**2).reshape(classes, classes)


def _summed(places: npt.NDArray[np.integer], counts: Pairs, length: int) -> Ints:
    # float64 has all whole numbers up to 9e15, more pixels than there are anywhere.
    return np.bincount(places.reshape(-1), counts.reshape(-1), length).astype(np.int64)
