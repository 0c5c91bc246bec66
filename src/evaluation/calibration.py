"""Whether probabilities can be believed: one temperature for all logits, and how far probabilities are from the truth.

Shapes: N images, K classes. Labels are int64 [N] with `one_class` per image, else uint8 [N, K]."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BINS = 15  # of equal width, as in Guo et al. 2017
LOWEST, HIGHEST = 0.05, 20.0  # temperatures
PRIOR = 0.5  # of log temperature: 0.4 to 2.7 with a probability of 95 %, our choice


def fit_temperature(logits_NK: npt.NDArray[Any], labels: npt.NDArray[Any], one_class: bool) -> float:
    """The temperature by which logits are divided so that these labels are likeliest (0.05 to 20).

    Guo et al. 2017, arXiv 1706.04599; softmax for one class per image, sigmoid for several. The order of the classes
    stays, so accuracy does too. A priori log temperature is taken to be normal around 0 with a deviation of PRIOR:
    without a single mistake among few images, the likelihood alone would make every answer certain. With hundreds of
    images this hardly matters.
    """
    logits_NK = logits_NK.astype(np.float64)
    targets_NK = np.arange(logits_NK.shape[1]) == labels[:, None] if one_class else labels > 0
    low, high = 1 / HIGHEST, 1 / LOWEST  # of the inverse temperature, in which the likelihood is concave
    for _ in range(25):
        middle = float(np.sqrt(low * high))
        slope = np.sum((to_probabilities(middle * logits_NK, one_class) - targets_NK) * logits_NK)
        slope += np.log(middle) / (middle * PRIOR**2)
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(1 / np.sqrt(low * high))


def to_probabilities(logits_NK: Floats, one_class: bool) -> Floats:
    """Softmax or sigmoid."""
    if not one_class:
        return 0.5 * (1 + np.tanh(0.5 * logits_NK))
    powers_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    shares_NK: Floats = powers_NK / powers_NK.sum(axis=1, keepdims=True)
    return shares_NK


@dataclass(frozen=True)
class Reliability:
    """How often answers of about the same confidence are right, by bin of equal width [BINS].

    With one class per image an answer is its likeliest class; with several, each class of each image is one, and its
    confidence is the probability that the image shows it. Bins without an answer have a confidence and a share of 0.
    """

    counts: npt.NDArray[np.int64]
    confidence: Floats
    share_right: Floats

    @property
    def expected_error(self) -> float:
        """Expected calibration error, 0..1, lower is better: mean distance of confidence and share, by answers."""
        return float(np.sum(self.counts * np.abs(self.confidence - self.share_right)) / max(self.counts.sum(), 1))


def reliability(probabilities_NK: Floats, labels: npt.NDArray[Any], one_class: bool) -> Reliability:
    """Sort the answers into bins by their confidence."""
    if one_class:
        confidences = probabilities_NK.max(axis=1)
        right = probabilities_NK.argmax(axis=1) == labels
    else:
        confidences, right = probabilities_NK.ravel(), labels.ravel() > 0
    return sorted_into_bins(confidences, right, BINS)


def sorted_into_bins(confidences: Floats, right: npt.NDArray[Any], number: int) -> Reliability:
    """Of single answers, in so many bins of equal width; `right` is bool, both have one shape [...]."""
    bins = np.minimum((confidences * number).astype(np.int64), number - 1)
    counts = np.bincount(bins, minlength=number)
    several = np.maximum(counts, 1)
    return Reliability(
        counts=counts,
        confidence=np.bincount(bins, weights=confidences, minlength=number) / several,
        share_right=np.bincount(bins, weights=right.astype(np.float64), minlength=number) / several,
    )


def brier_score(probabilities_NK: Floats, labels: npt.NDArray[Any], one_class: bool) -> float:
    """Mean squared distance of probabilities and truth, lower is better.

    With one class per image summed over the classes (0..2, Brier 1950), with several the mean over them (0..1).
    """
    if one_class:
        truth_NK = np.arange(probabilities_NK.shape[1]) == labels[:, None]
        return float(np.square(probabilities_NK - truth_NK).sum(axis=1).mean())
    return float(np.square(probabilities_NK - labels).mean())


def calibration_metrics(
    logits_NK: npt.NDArray[Any], labels: npt.NDArray[Any], temperature: float, one_class: bool
) -> dict[str, float]:
    """`ece` and `brier` at this temperature, and `..._uncalibrated` at 1; all lower is better."""
    metrics = {}
    for suffix, divisor in (("", temperature), ("_uncalibrated", 1.0)):
        probabilities_NK = to_probabilities(logits_NK.astype(np.float64) / divisor, one_class)
        metrics[f"ece{suffix}"] = reliability(probabilities_NK, labels, one_class).expected_error
        metrics[f"brier{suffix}"] = brier_score(probabilities_NK, labels, one_class)
    return metrics


def accuracy_by_coverage(confidences_N: Floats, right_N: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """If only the surest answers are given: their share [N] of all, and how many of them are right, 0..1 [N]."""
    order_N = np.argsort(-confidences_N, kind="stable")
    answered_N = np.arange(1, len(order_N) + 1)
    return answered_N / len(order_N), np.cumsum(right_N[order_N]) / answered_N


def abstaining(confidences_N: Floats, right_N: npt.NDArray[np.bool_]) -> list[tuple[float, float, float | None]]:
    """(abstain_below, share answered, share of these that is right; None where nothing is answered)."""
    rows: list[tuple[float, float, float | None]] = []
    for threshold in (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99):
        answered_N = confidences_N >= threshold
        right = float(right_N[answered_N].mean()) if answered_N.any() else None
        rows.append((threshold, float(answered_N.mean()), right))
    return rows
