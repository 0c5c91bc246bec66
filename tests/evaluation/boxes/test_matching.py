"""COCO's rules, one after the other, on boxes that can be counted by hand."""

import numpy as np
import pytest
from support.box_scenes import detections_of, drawn_scenes, truth_of

from src.evaluation.boxes import overlaps
from src.evaluation.boxes.matches import AREAS, IGNORED, RIGHT, WRONG, Matches
from src.evaluation.boxes.matching import match


def matched(detections: list, truth: list, classes: int = 2) -> Matches:
    return match(detections_of([detections]), truth_of([truth]), classes)


def test_the_best_detection_takes_the_box_and_the_next_finds_it_taken() -> None:
    matches = matched([(0, 0, 10, 10, 0.3, 0), (0, 0, 10, 9, 0.8, 0)], [(0, 0, 10, 10, 0)])
    assert matches.score_D.tolist() == np.float32([0.8, 0.3]).tolist()
    assert matches.verdicts().tolist() == [RIGHT, WRONG] and matches.found_D.tolist() == [0, -1]
    strict = matches.verdicts(threshold=9)  # IoU 0.9 is below 0.95, so the box is free for the exact one
    assert strict.tolist() == [WRONG, RIGHT] and matches.rank_D.tolist() == [0, 1]


def test_a_detection_takes_the_nearest_free_box_of_its_class() -> None:
    truth = [(0, 0, 10, 10, 0), (0, 0, 10, 8, 0), (0, 0, 10, 9, 1)]
    matches = matched([(0, 0, 10, 9, 0.9, 0), (0, 0, 10, 9, 0.8, 0), (0, 0, 10, 9, 0.7, 0)], truth)
    assert matches.found_D.tolist() == [0, 1, -1]  # IoU 0.90, 0.89; that of the other class would be 1
    assert sorted(zip(matches.detection_P.tolist(), matches.box_P.tolist(), strict=True)) == [
        (i, j) for i in range(3) for j in range(3)
    ]


def test_of_two_boxes_as_near_the_later_is_taken() -> None:
    matches = matched([(2, 0, 12, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 0)], [(0, 0, 10, 10, 0), (4, 0, 14, 10, 0)])
    assert matches.found_D.tolist() == [1, 0]  # COCO; else the second would find nothing


def test_an_iou_of_exactly_the_threshold_counts() -> None:
    matches = matched([(0, 0, 10, 6, 0.9, 0)], [(0, 0, 10, 10, 0)])
    assert [int(verdict) for verdict in matches.verdict_DAT[0, 0]] == [RIGHT] * 3 + [WRONG] * 7


def test_crowds_take_many_and_these_are_ignored_but_true_boxes_come_first() -> None:
    truth = [(0, 0, 100, 100, 0, 1), (10, 10, 20, 20, 0)]
    detections = [
        (10, 10, 20, 20, 0.9, 0),
        (50, 50, 60, 60, 0.8, 0),
        (60, 60, 70, 70, 0.7, 0),
        (60, 60, 70, 70, 0.6, 1),
    ]
    matches = matched(detections, truth)
    assert matches.verdicts().tolist() == [RIGHT, IGNORED, IGNORED, WRONG]  # the last has another class
    assert matches.countable().tolist() == [False, True] and not matches.missed().any()


def test_boxes_of_another_area_neither_count_nor_harm() -> None:
    truth = [(0, 0, 20, 20, 0), (100, 100, 150, 150, 0)]
    detections = [(0, 0, 20, 20, 0.9, 0), (100, 100, 150, 150, 0.8, 0), (300, 300, 500, 500, 0.7, 0)]
    matches = matched(detections, truth)
    verdicts = {name: matches.verdicts(area).tolist() for area, name in enumerate(AREAS)}
    assert verdicts == {
        "all": [RIGHT, RIGHT, WRONG],
        "small": [RIGHT, IGNORED, IGNORED],
        "medium": [IGNORED, RIGHT, IGNORED],
        "large": [IGNORED, IGNORED, WRONG],
    }
    assert [matches.true_counts(area=area).tolist() for area in range(4)] == [[2, 0], [1, 0], [1, 0], [0, 0]]


def test_leaving_out_low_scores_is_the_same_before_and_after_matching() -> None:
    detections = [(0, 0, 10, 10, 0.9, 0), (0, 0, 10, 9, 0.8, 1), (0, 0, 10, 10, 0.7, 1), (40, 0, 50, 10, 0.6, 0)]
    truth = [(0, 0, 10, 10, 0), (0, 0, 10, 10, 1), (40, 0, 50, 10, 0)]
    after = matched(detections, truth).accepted([0.85, 0.75])
    before = matched(detections[:2], truth)
    for name, values in vars(before).items():
        assert np.array_equal(getattr(after, name), values), name
    assert after.missed().tolist() == [False, False, True]


def test_rows_of_class_minus_one_are_no_detections() -> None:
    assert len(match(np.full((3, 5, 6), -1, dtype=np.float32), truth_of([[], [], []]), 2).class_D) == 0


def test_pairs_in_several_portions_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    detections_ND6, truth = drawn_scenes(2, 5, 20, 5, 3)
    whole = match(detections_ND6, truth, 3)
    monkeypatch.setattr(overlaps, "PAIRS_AT_ONCE", 3)
    for name, values in vars(match(detections_ND6, truth, 3)).items():
        assert np.array_equal(getattr(whole, name), values), name
