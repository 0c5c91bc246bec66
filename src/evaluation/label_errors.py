"""Which labels are probably wrong, by what models say that were not trained on these images. No torch.

Confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70:1373, arXiv 1911.00068): an image counts for a class if
its probability reaches the mean of what images with that label get, so a class of which models are less sure has a
lower threshold, and probabilities that are all too high do no harm. Images that count for another class than their
label's say how many labels are wrong. Which ones is read off the probability of the label, lowest first: that finds
more of the planted errors than the counted images themselves (scripts/planted_label_errors.py).

Shapes: N images, K classes, T targets.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FAR = 3.5  # robust deviations, Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers
MAD_TO_STD = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Suspect:
    """A label that is probably wrong: `image` is its number, `scores` are texts of csv columns by name."""

    image: int
    suggested: str
    scores: dict[str, str]


def count_errors(labels_N: Ints, probabilities_NK: npt.NDArray[Any]) -> int:
    """How many labels are wrong: the sum off the diagonal of the confident joint."""
    images = np.arange(len(labels_N))
    of_label_N = probabilities_NK[images, labels_N]
    counts_K = np.bincount(labels_N, minlength=probabilities_NK.shape[1])
    sums_K = np.bincount(labels_N, weights=of_label_N, minlength=probabilities_NK.shape[1])
    thresholds_K = np.where(counts_K > 0, sums_K / np.maximum(counts_K, 1), np.inf)  # nobody is labelled so
    reaching_NK = np.where(probabilities_NK >= thresholds_K, probabilities_NK, -1.0)
    counted_for_N = reaching_NK.argmax(axis=1)
    return int(np.sum((reaching_NK[images, counted_for_N] >= 0) & (counted_for_N != labels_N)))


def wrong_labels(labels_N: Ints, probabilities_NK: npt.NDArray[Any], every: bool = False) -> Ints:
    """The images whose labels are probably wrong, the least probable label first; none whose label is the likeliest.

    `every`: all images whose label is not the likeliest class.
    """
    of_label_N = probabilities_NK[np.arange(len(labels_N)), labels_N]
    order_N = np.argsort(of_label_N, kind="stable")
    unlike_N = order_N[of_label_N[order_N] < probabilities_NK[order_N].max(axis=1)]
    found_N: Ints = unlike_N if every else unlike_N[: count_errors(labels_N, probabilities_NK)]
    return found_N


def deviations(errors_NT: Floats) -> Floats:
    """Of each error from the median of its target, in robust standard deviations, signed, [N, T].

    From the median absolute deviation, which outliers do not widen; 0 where more than half of the errors are equal.
    """
    centred_NT = errors_NT - np.median(errors_NT, axis=0)
    spread_T = MAD_TO_STD * np.median(np.abs(centred_NT), axis=0)
    scaled_NT: Floats = np.where(spread_T > 0, centred_NT / np.where(spread_T > 0, spread_T, 1), 0.0)
    return scaled_NT
