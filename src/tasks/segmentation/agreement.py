"""How far two answers to one image are apart, such as those of a checkpoint and of its exported file. No torch.

Shapes: B images, K classes, H and W pixels of an image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from src.evaluation.pixels.confusion import VOID, PixelSums
from src.evaluation.prediction import Outputs

ALIKE = 0.999  # of an image's pixels: where two classes are equal up to rounding, either of them may win


def digest_of(expected: Outputs, found: Outputs, truths: Sequence[Any], classes: int) -> Outputs:
    """Of each image `same`, the share of the pixels that have the class that was expected, and `apart`, the largest
    difference of the confidence of these: float64 [B]. If there are `truths` uint8 [H, W], pixels of each class
    that are `right`, `true` and `found` (PixelSums), int64 [B, K]: in their pixels, since large images are decoded
    reduced.
    """
    same, apart = [], []
    for name in ("mask", "confidence"):
        wanted, sizes = ([one.shape for one in outputs[name]] for outputs in (expected, found))
        if wanted != sizes:
            raise ValueError(f"{name} of the sizes {sizes} where {wanted} are expected")
    for n, mask_HW in enumerate(found["mask"]):
        equal_HW = mask_HW == expected["mask"][n]
        apart_HW = np.abs(found["confidence"][n] - expected["confidence"][n])
        same.append(equal_HW.mean())
        apart.append(apart_HW[equal_HW].max(initial=0))
    digest: dict[str, Any] = {"same": np.array(same), "apart": np.array(apart)}
    if truths:
        pairs = zip(truths, found["mask"], strict=True)
        sums = [PixelSums.of(confusion_of_mask(truth_HW, mask, classes)) for truth_HW, mask in pairs]
        digest |= {name: np.stack([getattr(one, name) for one in sums]) for name in ("right", "true", "found")}
    return digest


def confusion_of_mask(truth_HW: Any, found: Any, classes: int) -> Any:
    """int64 [K, K]; the found mask is brought to the size of the true one by its nearest pixels."""
    size_wh = truth_HW.shape[::-1]
    found_HW = np.asarray(Image.fromarray(np.asarray(found, np.uint8)).resize(size_wh, Image.Resampling.NEAREST))
    known = truth_HW != VOID
    pairs = truth_HW[known].astype(np.int64) * classes + found_HW[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
