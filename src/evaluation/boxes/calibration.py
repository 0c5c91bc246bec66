"""Scores of boxes that mean what they say: of the boxes with a score of 0.8, 80 % are right. D detections."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from src.evaluation.boxes.matches import IGNORED, RIGHT, Bools, Floats, Matches
from src.evaluation.calibration import Reliability, sorted_into_bins

BINS = 10  # of equal width, by confidence alone
SLOPE_PRIOR, OFFSET_PRIOR = 0.5, 1.0  # deviations of log slope and offset: our choice, see `fit_score_calibration`
CLOSEST = 1e-8  # of a score to 0 and 1: closer than any float32 below 1
STEPS = 50


@dataclass(frozen=True)
class ScoreCalibration:
    """score -> sigmoid(slope * logit(score) + offset), slope > 0: the order of the boxes stays, so AP does too."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, scores: npt.NDArray[Any]) -> Floats:
        """Scores of any shape, 0..1; thresholds are scores too."""
        calibrated: Floats = _sigmoid(self.slope * _logit(scores) + self.offset)
        return calibrated


def fit_score_calibration(matches: Matches) -> ScoreCalibration:
    """Slope and offset for which it is likeliest that just these detections are right (Platt 1999, on logits).

    Right is what is matched at IoU 0.5 by COCO's rules; ignored detections do not count. A priori log slope and offset
    are taken to be normal around 0 with deviations of 0.5 and 1, so that a few boxes change little, and none nothing.
    Newton's method with expected second derivatives (Fisher scoring), a step being halved until it helps.
    """
    score_D, right_D = _answers(matches)
    logit_D = _logit(score_D)
    precision = np.array([SLOPE_PRIOR**-2, OFFSET_PRIOR**-2])
    at = np.zeros(2)  # log slope, offset
    for _ in range(STEPS):
        scaled_D = np.exp(at[0]) * logit_D
        share_D = _sigmoid(scaled_D + at[1])
        parts_2D = np.stack([scaled_D, np.ones(len(scaled_D))])
        slope = parts_2D @ (share_D - right_D) + precision * at
        step = np.linalg.solve((parts_2D * share_D * (1 - share_D)) @ parts_2D.T + np.diag(precision), slope)
        before = _loss(at, logit_D, right_D, precision)
        while _loss(at - step, logit_D, right_D, precision) > before and np.abs(step).max() > 1e-9:
            step = step / 2
        if np.abs(step).max() <= 1e-9:
            break
        at = at - step
    return ScoreCalibration(float(np.exp(at[0])), float(at[1]))


def box_reliability(matches: Matches, calibration: ScoreCalibration | None = None) -> Reliability:
    """How often boxes of about the same score are right, in 10 bins of equal width."""
    score_D, right_D = _answers(matches)
    return sorted_into_bins(score_D if calibration is None else calibration(score_D), right_D, BINS)


def detection_calibration_error(matches: Matches, calibration: ScoreCalibration | None = None) -> float:
    """D-ECE (Kueppers et al. 2020, arXiv 2004.13546), 0..1, lower is better: mean distance of score and share of right
    boxes, over all detections, in 10 bins by score alone (not by place and size); NaN without detections.
    """
    bins = box_reliability(matches, calibration)
    return bins.expected_error if bins.counts.any() else float("nan")


def _answers(matches: Matches) -> tuple[Floats, Bools]:
    counted_D = matches.verdicts() != IGNORED
    return matches.score_D[counted_D].astype(np.float64), matches.verdicts()[counted_D] == RIGHT


def _loss(at: Floats, logit_D: Floats, right_D: Bools, precision: Floats) -> float:
    """Minus the log of likelihood and prior."""
    total_D = np.exp(at[0]) * logit_D + at[1]
    return float(np.logaddexp(0, np.where(right_D, -total_D, total_D)).sum() + (precision * at**2).sum() / 2)


def _logit(scores: npt.NDArray[Any]) -> Floats:
    shares = np.clip(np.asarray(scores, dtype=np.float64), CLOSEST, 1 - CLOSEST)
    logits: Floats = np.log(shares) - np.log1p(-shares)
    return logits


def _sigmoid(logits: Floats) -> Floats:
    shares: Floats = 0.5 * (1 + np.tanh(0.5 * logits))
    return shares
