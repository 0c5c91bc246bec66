"""True boxes, and what matching says of all detections: columns from which every measure of boxes follows.

Shapes: N images, M true boxes, D detections, P pairs of both, K classes, A ranges of area, T IoU thresholds. Boxes are
x1, y1, x2, y2 in pixels of the original image, x2 and y2 exclusive; areas in square pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Shorts = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # COCO's
SMALL, LARGE = 32.0**2, 96.0**2  # areas: small < 32^2 <= medium < 96^2 <= large
AREAS = ("all", "small", "medium", "large")
AREA_RANGES = np.array([[0, np.inf], [0, SMALL], [SMALL, LARGE], [LARGE, np.inf]])  # COCO's: both ends belong to it
ALL = 0  # index into the ranges of area
HALF = 0  # index into the thresholds: IoU 0.5
WRONG, RIGHT, IGNORED = 0, 1, 2  # verdicts


@dataclass(frozen=True)
class TrueBoxes:
    """Of N images: how many boxes each has (`counts_N`), and the boxes one image after the other.

    `crowd_M`: regions of many objects and difficult ones; what is found there is neither right nor wrong.
    """

    counts_N: Ints
    boxes_xyxy_M4: Singles
    class_M: Ints
    crowd_M: Bools

    @property
    def image_of_box(self) -> Ints:
        """0..N-1 [M]."""
        return np.repeat(np.arange(len(self.counts_N)), self.counts_N)


@dataclass(frozen=True)
class Matches:
    """All detections and true boxes of some images, and which of them belong together.

    Detections are ordered by image, class and falling score. `rank_D`: place of a detection among those of its class in
    its image, from 0. `verdict_DAT` uint8: WRONG, RIGHT or IGNORED by COCO's rules, by range of area and threshold.
    `found_D`: the true box, crowds included, that a detection is matched with at IoU 0.5, all areas; -1 for none.

    `detection_P`, `box_P`, `iou_P`: pairs of the same image with an IoU of at least 0.1, whatever their classes.
    With a crowd, pairs of the same class of whose detection at least half lies in it; `iou_P` is that share.
    """

    images: int
    classes: int
    image_D: Ints
    class_D: Ints
    score_D: Singles
    area_D: Singles
    rank_D: Ints
    verdict_DAT: npt.NDArray[np.uint8]
    found_D: Ints
    image_M: Ints
    class_M: Ints
    area_M: Singles
    crowd_M: Bools
    detection_P: Shorts
    box_P: Shorts
    iou_P: Floats

    def verdicts(self, area: int = ALL, threshold: int = HALF) -> npt.NDArray[np.uint8]:
        """WRONG, RIGHT or IGNORED [D]."""
        return self.verdict_DAT[:, area, threshold]

    def countable(self, area: int = ALL) -> Bools:
        """The true boxes that are to be found [M]: no crowds, and of this range of area."""
        return in_ranges(self.area_M)[:, area] & ~self.crowd_M

    def true_counts(self, weights_N: Floats | None = None, area: int = ALL) -> Floats:
        """Boxes of each class that are to be found [K]."""
        rows = np.flatnonzero(self.countable(area))
        weights = None if weights_N is None else weights_N[self.image_M[rows]]
        return np.bincount(self.class_M[rows], weights, self.classes).astype(np.float64)

    def missed(self) -> Bools:
        """The true boxes that no detection is matched with at IoU 0.5 [M]; no crowds."""
        found_M = np.zeros(len(self.class_M), dtype=np.bool_)
        found_M[self.found_D[self.found_D >= 0]] = True
        return ~found_M & ~self.crowd_M

    def accepted(self, thresholds_K: npt.ArrayLike) -> "Matches":
        """The detections alone whose score is at least their class's threshold.

        Matching goes from the highest score to the lowest, so leaving out the lowest changes nothing for the others.
        """
        kept_D = self.score_D >= np.asarray(thresholds_K, dtype=np.float64)[self.class_D]
        kept_P = kept_D[self.detection_P]
        place_D = np.cumsum(kept_D) - 1
        columns = ("image_D", "class_D", "score_D", "area_D", "rank_D", "verdict_DAT", "found_D")
        return replace(
            self,
            **{name: getattr(self, name)[kept_D] for name in columns},
            detection_P=place_D[self.detection_P[kept_P]].astype(np.int32),
            box_P=self.box_P[kept_P],
            iou_P=self.iou_P[kept_P],
        )

    def renumbered(self, numbers_N: Ints, images: int) -> "Matches":
        """With image i as image `numbers_N[i]` of so many: when processes had every second image, say."""
        return replace(self, images=images, image_D=numbers_N[self.image_D], image_M=numbers_N[self.image_M])


def in_ranges(areas: Singles) -> Bools:
    """Which of the ranges these areas belong to, [..., A]."""
    return (areas[:, None] >= AREA_RANGES[:, 0]) & (areas[:, None] <= AREA_RANGES[:, 1])


def joined(pieces: Sequence[Matches]) -> Matches:
    """The images of all pieces, one piece after the other. At least one piece."""
    images = np.cumsum([0, *(one.images for one in pieces)])
    detections = np.cumsum([0, *(len(one.class_D) for one in pieces)])
    boxes = np.cumsum([0, *(len(one.class_M) for one in pieces)])
    shifts = {"image_D": images, "image_M": images, "detection_P": detections, "box_P": boxes}
    columns = {
        name: np.concatenate([getattr(one, name) + shift for one, shift in zip(pieces, by[:-1].tolist(), strict=True)])
        for name, by in shifts.items()
    }
    found = [np.where(one.found_D < 0, -1, one.found_D + by) for one, by in zip(pieces, boxes.tolist(), strict=False)]
    same = ("class_D", "score_D", "area_D", "rank_D", "verdict_DAT", "class_M", "area_M", "crowd_M", "iou_P")
    columns |= {name: np.concatenate([getattr(one, name) for one in pieces]) for name in same}
    return Matches(images=int(images[-1]), classes=pieces[0].classes, found_D=np.concatenate(found), **columns)
