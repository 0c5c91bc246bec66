"""Average precision and average recall of boxes as COCO counts them, with weights of the images for resampling.

Shapes: N images, M true boxes, D detections, K classes, T IoU thresholds, G = T * K groups, H hits (right detections of
all groups), R = 101 recalls. Values are 0..1, higher is better; NaN for a class without true boxes.
"""

import numpy as np
import numpy.typing as npt

from src.evaluation.boxes.matches import ALL, AREAS, HALF, IGNORED, RIGHT, Floats, Ints, Matches, Singles
from src.evaluation.intervals import Interval, bootstrap

RECALLS = np.linspace(0, 1, 101)
IOU_75 = 5  # index into the thresholds
ROUNDING = 1e-6  # of sums of weights; COCO's are whole numbers
TINY = 1e-12  # instead of a count of 0, where there is nothing right either


class RankedDetections:
    """Detections of each class, best first: sorted once, then measured with many weights of the images.

    `verdict_DT` is WRONG, RIGHT or IGNORED. Of equal scores the earlier image comes first, then the earlier row.
    """

    def __init__(
        self, image_D: Ints, class_D: Ints, score_D: Singles, verdict_DT: npt.NDArray[np.uint8], classes: int
    ) -> None:
        order = np.lexsort((image_D, -score_D, class_D))
        sorted_D, verdict_DT = class_D[order], verdict_DT[order]
        self.image_D = image_D[order]
        self.groups = verdict_DT.shape[1] * classes
        hit_T, self.place_H = np.nonzero(verdict_DT.T == RIGHT)
        ignored_T, self.ignored_I = np.nonzero(verdict_DT.T == IGNORED)
        group_H = hit_T * classes + sorted_D[self.place_H]
        self.starts_G = np.searchsorted(group_H, np.arange(self.groups))
        self.hits_G = np.bincount(group_H, minlength=self.groups)
        # Where the class of each group begins, among all detections and among the ignored ones.
        self.class_starts_G = np.tile(np.searchsorted(sorted_D, np.arange(classes)), verdict_DT.shape[1])
        keys_I, row = ignored_T * (len(order) + 1) + self.ignored_I, len(order) + 1
        self.ignored_before_H = np.searchsorted(keys_I, hit_T * row + self.place_H)
        thresholds_G = np.repeat(np.arange(verdict_DT.shape[1]), classes)
        self.ignored_before_G = np.searchsorted(keys_I, thresholds_G * row + self.class_starts_G)
        self.floor_H = 2.0 * np.repeat(np.arange(self.groups)[::-1], self.hits_G)

    def average_precision(self, true_K: Floats, weights_N: Floats) -> Floats:
        """AP at each threshold and of each class [T, K], true_K boxes being there (weighted).

        Mean over 101 recalls r = 0, 0.01, ..., 1 of the best precision at any recall of at least r (COCO). Only right
        detections are looked at, since from one to the next precision falls. Sums and maxima run over all groups in one
        go: a group's sum is the difference to where it begins, and its precisions lie 2 above those of the next group.
        """
        sums_H = _sums(weights_N[self.image_D[self.place_H]])
        sums_D, sums_I = _sums(weights_N[self.image_D]), _sums(weights_N[self.image_D[self.ignored_I]])
        before_G = sums_D[self.class_starts_G] - sums_I[self.ignored_before_G]
        right_H = sums_H[1:] - np.repeat(sums_H[self.starts_G], self.hits_G)
        accepted_H = sums_D[self.place_H + 1] - sums_I[self.ignored_before_H] - np.repeat(before_G, self.hits_G)
        precision_H = right_H / np.maximum(accepted_H, TINY)
        best_H = np.maximum.accumulate((precision_H + self.floor_H)[::-1])[::-1] - self.floor_H
        true_G = np.tile(true_K, self.groups // len(true_K))
        wanted_GR = sums_H[self.starts_G][:, None] + _needed(true_G)
        place_GR = np.maximum(np.searchsorted(sums_H[1:], wanted_GR), self.starts_G[:, None])
        reached_GR = place_GR < (self.starts_G + self.hits_G)[:, None]
        padded_H = np.append(best_H, 0.0)
        mean_G = np.where(reached_GR, padded_H[np.minimum(place_GR, len(best_H))], 0.0).mean(axis=1)
        return np.where(true_G > 0, mean_G, np.nan).reshape(-1, len(true_K))


def _sums(weights: Floats) -> Floats:
    """Of the first 0, 1, 2, ... weights."""
    sums = np.zeros(len(weights) + 1)
    np.cumsum(weights, out=sums[1:])
    return sums


def _needed(true_G: Floats) -> Floats:
    """How many right ones reach each recall [G, R].

    COCO compares right / true with numbers like 0.5700000000000001, which 57 of 100 do not reach: where r * true is
    next to a whole number, the same division decides.
    """
    needed_GR = RECALLS * true_G[:, None]
    whole_GR = np.round(needed_GR)
    beyond_GR = (np.abs(needed_GR - whole_GR) < ROUNDING) & (whole_GR / np.maximum(true_G, TINY)[:, None] < RECALLS)
    return np.where(beyond_GR, whole_GR + ROUNDING, needed_GR - ROUNDING)


class AveragePrecision:
    """AP of matches, for one range of area, as a function of how often each image counts."""

    def __init__(self, matches: Matches, area: int = ALL) -> None:
        self.matches, self.area = matches, area
        self.ranked = RankedDetections(
            matches.image_D, matches.class_D, matches.score_D, matches.verdict_DAT[:, area], matches.classes
        )

    def per_class(self, weights_N: Floats | None = None) -> Floats:
        """[T, K]; NaN for classes without true boxes, whatever was predicted."""
        weights_N = np.ones(self.matches.images) if weights_N is None else weights_N
        return self.ranked.average_precision(self.matches.true_counts(weights_N, self.area), weights_N)

    def metrics(self, weights_N: Floats | None = None) -> dict[str, float]:
        """`ap` (mean of the ten IoU thresholds), `ap50` and `ap75`: means of the classes that have true boxes.

        What `bootstrap` wants.
        """
        per_TK = self.per_class(weights_N)
        there_K = ~np.isnan(per_TK[HALF])  # classes with true boxes, which are the same at every threshold
        if not there_K.any():
            return dict.fromkeys(("ap", "ap50", "ap75"), float("nan"))
        per_T = per_TK[:, there_K].mean(axis=1)
        return {"ap": float(per_T.mean()), "ap50": float(per_T[HALF]), "ap75": float(per_T[IOU_75])}


def mean_of_known(values: Floats) -> float:
    """The mean without NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


class AverageRecall:
    """AR of matches as a function of how often each image counts. `limit`: of each image and class the best detections
    alone.
    """

    def __init__(self, matches: Matches, limit: int | None = None) -> None:
        self.matches = matches
        kept_D = np.ones(len(matches.class_D), dtype=np.bool_) if limit is None else matches.rank_D < limit
        right_DT = (matches.verdict_DAT[:, ALL] == RIGHT) & kept_D[:, None]
        detection_H, threshold_H = np.nonzero(right_DT)
        self.image_H, self.group_H = matches.image_D[detection_H], threshold_H * matches.classes
        self.group_H += matches.class_D[detection_H]
        self.groups = right_DT.shape[1] * matches.classes

    def __call__(self, weights_N: Floats | None = None) -> float:
        """Mean over thresholds and classes of the share of true boxes that is found (COCO), NaN without true boxes."""
        weights_N = np.ones(self.matches.images) if weights_N is None else weights_N
        right_TK = np.bincount(self.group_H, weights_N[self.image_H], self.groups).reshape(-1, self.matches.classes)
        true_K = self.matches.true_counts(weights_N)
        return mean_of_known(right_TK[:, true_K > 0] / true_K[true_K > 0])


def box_metrics(matches: Matches) -> dict[str, float]:
    """`ap`, `ap50`, `ap75`, `ap_small`, `ap_medium`, `ap_large` (by area: COCO's 32^2 and 96^2 square pixels of the
    original image), `ar_1`, `ar_10` (so many detections per image and class) and `ar` (all of them).

    0..1, higher is better, as COCO defines them; NaN where there is no true box to be found.
    """
    metrics = AveragePrecision(matches).metrics()
    for area, name in enumerate(AREAS[1:], start=1):
        metrics[f"ap_{name}"] = AveragePrecision(matches, area).metrics()["ap"]
    limits = {"ar_1": 1, "ar_10": 10, "ar": None}
    return metrics | {name: AverageRecall(matches, limit)() for name, limit in limits.items()}


def metrics_per_class(matches: Matches) -> dict[str, Floats]:
    """`ap` and `ap50` of each class [K]."""
    per_TK = AveragePrecision(matches).per_class()
    return {"ap": per_TK.mean(axis=0), "ap50": per_TK[HALF]}


def ap_intervals(matches: Matches, groups_N: Ints | None, seed: int = 0) -> dict[str, Interval]:
    """95 % intervals of `ap`, `ap50` and `ap75` by resampling the images: see `bootstrap`."""
    if not matches.countable().any():
        return {}
    return bootstrap(AveragePrecision(matches).metrics, matches.images, groups_N, seed)


def box_intervals(matches: Matches, groups_N: Ints | None, seed: int = 0) -> dict[str, Interval]:
    """The same of these, of `ar`, and of `ap_small`, `ap_medium` and `ap_large` where there are true boxes."""
    if not matches.countable().any():
        return {}
    ap, ar = AveragePrecision(matches), AverageRecall(matches)
    of_sizes = {
        f"ap_{name}": AveragePrecision(matches, area)
        for area, name in enumerate(AREAS[1:], start=1)
        if matches.countable(area).any()
    }

    def measure(weights_N: Floats) -> dict[str, float]:
        sizes = {name: one.metrics(weights_N)["ap"] for name, one in of_sizes.items()}
        return ap.metrics(weights_N) | sizes | {"ar": ar(weights_N)}

    return bootstrap(measure, matches.images, groups_N, seed)
