"""TIDE's kinds of errors and what each costs."""

import numpy as np
import pytest
from support.box_scenes import detections_of, drawn_scenes, truth_of

from src.evaluation.boxes.average_precision import AveragePrecision
from src.evaluation.boxes.errors import KINDS, split_errors
from src.evaluation.boxes.matches import WRONG
from src.evaluation.boxes.matching import match

A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
HALF_A = (0, 0, 10, 4)  # IoU 0.4
RIGHT = (*A, 0.5, 0)


@pytest.mark.parametrize(
    ("kind", "detection"),
    [
        ("wrong class", (*B, 0.9, 0)),
        ("badly placed", (40, 0, 50, 4, 0.9, 0)),
        ("both", (20, 0, 30, 4, 0.9, 0)),
        ("duplicate", (*A, 0.4, 0)),
        ("background", (80, 80, 90, 90, 0.9, 0)),
        ("background", (0, 0, 10, 0.9, 0.9, 0)),  # IoU 0.09
    ],
)
def test_a_detection_of_each_kind(kind: str, detection: tuple) -> None:
    """Beside one that is right; B is of class 1, and C is of class 0 and not found by any."""
    truth = truth_of([[(*A, 0), (*B, 1), (*C, 0)]])
    errors = split_errors(match(detections_of([[RIGHT, detection]]), truth, 2))
    aimed = kind in ("wrong class", "badly placed")
    expected = dict.fromkeys(KINDS, 0) | {kind: 1, "missed": 1 if aimed else 2}
    assert errors.counts == expected


def test_gains_by_hand() -> None:
    """Of two boxes one is found, behind a false alarm: AP50 is 51/101 of 1/2."""
    truth = truth_of([[(*A, 0), (*B, 0)]])
    now = 51 / 101 / 2
    errors = split_errors(match(detections_of([[(80, 80, 90, 90, 0.9, 0), RIGHT]]), truth, 1))
    assert errors.gains == pytest.approx(dict.fromkeys(KINDS, 0.0) | {"background": now, "missed": 0.5 - now})
    errors = split_errors(match(detections_of([[(20, 0, 30, 4, 0.9, 0), RIGHT]]), truth, 1))
    assert errors.gains == pytest.approx(dict.fromkeys(KINDS, 0.0) | {"badly placed": 1 - now})
    assert errors.counts["missed"] == 0  # what points at B could have found it


def test_a_wrong_class_becomes_right_in_the_class_of_its_box() -> None:
    """AP50 of class 0 is 1/2 behind the false one, that of class 1 is 0; mended both are 1."""
    truth = truth_of([[(*A, 0), (*B, 1)]])
    errors = split_errors(match(detections_of([[(*B, 0.9, 0), RIGHT]]), truth, 2))
    assert errors.gains["wrong class"] == pytest.approx(0.75) and errors.counts["wrong class"] == 1


def test_what_points_at_a_box_that_is_found_only_goes_away() -> None:
    """Class 0 stays at 51/101, as C is missed; class 1 goes from 1/2, behind the false one, to 1."""
    truth = truth_of([[(*A, 0), (*C, 0), (*B, 1)]])
    errors = split_errors(match(detections_of([[(*A, 0.9, 1), RIGHT, (*B, 0.5, 1)]]), truth, 2))
    assert errors.counts == dict.fromkeys(KINDS, 0) | {"wrong class": 1, "missed": 1}
    assert errors.gains["wrong class"] == pytest.approx(0.25)


def test_if_nothing_is_found_all_is_lost_to_misses() -> None:
    errors = split_errors(match(detections_of([[]]), truth_of([[(*A, 0)]]), 2))
    assert errors.gains == dict.fromkeys(KINDS, 0.0) | {"missed": 1.0}


def test_only_the_best_of_those_that_point_at_a_box_becomes_right() -> None:
    """The badly placed one has the higher score: mending the wrong class takes it away and makes nothing right."""
    truth = truth_of([[(*A, 0), (*B, 1)]])
    errors = split_errors(match(detections_of([[(20, 0, 30, 4, 0.9, 1), (*B, 0.8, 0), RIGHT]]), truth, 2))
    assert errors.counts == dict.fromkeys(KINDS, 0) | {"wrong class": 1, "badly placed": 1}
    assert errors.gains["badly placed"] == pytest.approx(0.5) and errors.gains["wrong class"] == pytest.approx(0.25)


def test_crowds_are_no_errors() -> None:
    truth = truth_of([[(0, 0, 100, 100, 0, 1), (200, 0, 210, 10, 0)]])
    errors = split_errors(match(detections_of([[(0, 0, 50, 50, 0.9, 0), (200, 0, 210, 10, 0.8, 0)]]), truth, 1))
    assert errors.counts == dict.fromkeys(KINDS, 0)


def test_every_wrong_detection_has_one_kind_and_gains_are_shares() -> None:
    for seed in range(8):
        detections_ND6, truth = drawn_scenes(seed, 10, 20, 4, 3)
        matches = match(detections_ND6, truth, 3)
        errors = split_errors(matches)
        assert sum(errors.counts[kind] for kind in KINDS[:-1]) == (matches.verdicts() == WRONG).sum()
        assert errors.counts["missed"] <= matches.missed().sum()
        now = AveragePrecision(matches).metrics()["ap50"]
        assert all(0 <= gain <= 1 - now + 1e-9 for gain in errors.gains.values())
    assert all(np.isnan(list(split_errors(match(detections_of([[RIGHT]]), truth_of([[]]), 1)).gains.values())))
