"""Misses and false alarms: by size of the box, and the images with most of them.

Shapes: N images, M true boxes, D detections.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from src.evaluation.boxes.matches import LARGE, SMALL, WRONG, Ints, Matches, Singles

SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class SizeCounts:
    """Boxes that are small (area < 32^2 square pixels), medium (< 96^2) and large [3], at IoU 0.5.

    `true` boxes, `missed` of them; `false_alarms` by the size of the predicted box.
    """

    true: Ints
    missed: Ints
    false_alarms: Ints


class WorstImage(NamedTuple):
    """An image, 0..N-1; its true boxes that are missed and the detections that are wrong."""

    image: int
    missed: int
    false_alarms: int


def count_by_size(accepted: Matches) -> SizeCounts:
    """Of these detections (`Matches.accepted`). Crowds and ignored detections do not count."""
    return SizeCounts(
        true=_by_size(accepted.area_M[~accepted.crowd_M]),
        missed=_by_size(accepted.area_M[accepted.missed()]),
        false_alarms=_by_size(accepted.area_D[accepted.verdicts() == WRONG]),
    )


def _by_size(areas: Singles) -> Ints:
    return np.bincount(np.digitize(areas, [SMALL, LARGE]), minlength=len(SIZES))


def errors_per_image(accepted: Matches) -> tuple[Ints, Ints]:
    """Missed true boxes and false alarms of each image [N], at IoU 0.5."""
    missed = np.bincount(accepted.image_M[accepted.missed()], minlength=accepted.images)
    return missed, np.bincount(accepted.image_D[accepted.verdicts() == WRONG], minlength=accepted.images)


def worst_images(accepted: Matches, most: int) -> list[WorstImage]:
    """Those with most misses and false alarms together, worst first, at most so many; none without an error."""
    missed_N, false_alarms_N = errors_per_image(accepted)
    order = np.argsort(-(missed_N + false_alarms_N), kind="stable")[:most].tolist()
    images = (WorstImage(i, int(missed_N[i]), int(false_alarms_N[i])) for i in order)
    return [one for one in images if one.missed + one.false_alarms]
