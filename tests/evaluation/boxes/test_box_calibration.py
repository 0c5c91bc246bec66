"""Scores of boxes that mean what they say."""

from dataclasses import replace

import numpy as np
import pytest
from support.box_scenes import detections_of, truth_of

from src.evaluation.boxes.average_precision import box_metrics
from src.evaluation.boxes.calibration import (
    ScoreCalibration,
    box_reliability,
    detection_calibration_error,
    fit_score_calibration,
)  # fmt: skip
from src.evaluation.boxes.matches import Matches
from src.evaluation.boxes.matching import match

PLACES = [(20 * x, 20 * y, 20 * x + 10, 20 * y + 10) for x in range(10) for y in range(10)]


def scored(scores: np.ndarray, right: np.ndarray) -> Matches:
    """An image for each 100 detections; those that are not right have no true box."""
    rows = [(*PLACES[i % 100], score, 0) for i, score in enumerate(scores)]
    truth = [(*PLACES[i % 100], 0) if one else None for i, one in enumerate(right)]
    cuts = range(0, len(rows), 100)
    return match(
        detections_of([rows[i : i + 100] for i in cuts]),
        truth_of([[box for box in truth[i : i + 100] if box] for i in cuts]),
        1,
    )


def drawn(slope: float, offset: float, number: int = 20_000) -> Matches:
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=number) - 1
    right = generator.random(number) < 1 / (1 + np.exp(-(slope * logits + offset)))
    return scored(1 / (1 + np.exp(-logits)), right)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.4, -1.0), (2.0, 1.5)])
def test_slope_and_offset_are_found(slope: float, offset: float) -> None:
    matches = drawn(slope, offset)
    found = fit_score_calibration(matches)
    assert (found.slope, found.offset) == pytest.approx((slope, offset), abs=0.12)
    assert detection_calibration_error(matches, found) < 0.02
    if slope != 1:
        assert detection_calibration_error(matches) > 0.08


def test_calibration_error_by_hand() -> None:
    matches = scored(np.array([0.95, 0.92, 0.31, 1.0]), np.array([True, False, False, True]))
    bins = box_reliability(matches)
    assert bins.counts.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 3]
    expected = 0.25 * 0.31 + 0.75 * abs((0.95 + 0.92 + 1) / 3 - 2 / 3)
    assert detection_calibration_error(matches) == pytest.approx(expected)
    assert np.isnan(detection_calibration_error(match(detections_of([[]]), truth_of([[]]), 1)))


def test_few_boxes_change_little_and_none_nothing() -> None:
    found = fit_score_calibration(scored(np.array([0.9, 0.8, 0.3]), np.array([True, True, False])))
    assert 0.9 < found.slope < 2 and abs(found.offset) < 1 and found != ScoreCalibration()
    assert fit_score_calibration(match(detections_of([[]]), truth_of([[]]), 1)) == ScoreCalibration()


def test_the_order_stays_even_where_high_scores_are_wrong_and_ap_with_it() -> None:
    generator = np.random.default_rng(1)
    scores = np.append(generator.random(2000), [0, 1])
    matches = scored(scores, generator.random(2002) > scores)
    found = fit_score_calibration(matches)
    assert found.slope > 0 and np.isfinite([found.slope, found.offset]).all()
    sorted_scores = np.sort(scores)
    assert (np.diff(found(sorted_scores)) > 0).all() and found(sorted_scores).max() <= 1
    matches = drawn(0.4, -1.0, 2000)
    calibrated = replace(matches, score_D=fit_score_calibration(matches)(matches.score_D))
    assert box_metrics(calibrated) == pytest.approx(box_metrics(matches), nan_ok=True)
