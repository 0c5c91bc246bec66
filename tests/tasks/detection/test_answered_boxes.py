"""Calibrated scores and thresholds: what val teaches, and that everything that answers goes by it."""

import numpy as np
import pytest
import torch
from support.box_evidence import evidence_of, table_of
from support.box_scenes import detections_of, drawn_scenes, truth_of

from src.evaluation.boxes.average_precision import box_metrics
from src.evaluation.boxes.calibration import detection_calibration_error
from src.evaluation.prediction import TOLERANCE
from src.tasks.detection.answers import BoxAnswers, calibrated_layer, fitted_calibration
from src.tasks.detection.drawn import draw_batch, judged_boxes
from src.tasks.detection.image_sections import image_rows
from src.tasks.detection.prediction import DetectionPrediction

A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)  # far from each other
NOWHERE = (80, 80, 90, 90)
NAMES = ["cat", "dog"]
# Found, a wrong class with a higher score than a right one, missed, a false alarm, one in a crowd; an image of nothing.
TRUTH = truth_of([[(*A, 0), (*B, 1), (*C, 1), (60, 60, 100, 100, 0, 1)], []])
FOUND = [
    [(*B, 0.9, 0), (*A, 0.8, 0), (61, 61, 70, 70, 0.7, 0), (*B, 0.6, 1), (*C, 0.1, 1)],
    [(*NOWHERE, 0.95, 1)],
]


def test_slope_shift_and_thresholds_are_plain_numbers_of_which_the_same_layer_comes() -> None:
    detections_ND6, truth = drawn_scenes(1, 40, 20, 5, 2)
    found = fitted_calibration(evidence_of(detections_ND6, truth, NAMES), NAMES)
    assert set(found) == {"score_slope", "score_shift", "images", "threshold_0", "threshold_1"}
    assert all(type(value) is float for value in found.values()) and found["images"] == 40
    layer = calibrated_layer(NAMES, found)
    assert layer.thresholds == [found["threshold_0"], found["threshold_1"]]
    assert (layer.slope, layer.shift) == (found["score_slope"], found["score_shift"])


@pytest.mark.parametrize("seed", range(4))
def test_predictions_are_the_boxes_that_the_report_counts(seed: int) -> None:
    detections_ND6, truth = drawn_scenes(seed, 30, 20, 5, 2)
    evidence = evidence_of(detections_ND6, truth, NAMES)
    layer = calibrated_layer(NAMES, fitted_calibration(evidence, NAMES))
    answers = BoxAnswers.of(evidence, layer)
    predictions = DetectionPrediction.of(layer.arrays(torch.from_numpy(detections_ND6)), layer)
    assert [len(one) for one in predictions] == np.bincount(answers.accepted.image_D, minlength=30).tolist()
    scores = np.sort(np.concatenate([one.numbers for one in predictions]))
    assert scores == pytest.approx(np.sort(answers.accepted.score_D), abs=TOLERANCE) and 0 < len(scores) < len(
        answers.raw.score_D
    )


def test_calibration_mends_the_scores_and_leaves_ap() -> None:
    detections_ND6, truth = drawn_scenes(3, 60, 20, 5, 2, ties=0)
    evidence = evidence_of(detections_ND6, truth, NAMES)
    answers = BoxAnswers.of(evidence, calibrated_layer(NAMES, fitted_calibration(evidence, NAMES)))
    assert detection_calibration_error(answers.matches) < detection_calibration_error(answers.raw)
    assert box_metrics(answers.matches) == pytest.approx(box_metrics(answers.raw), nan_ok=True)


@pytest.mark.parametrize(("detections", "truth"), [([[]], [[]]), ([[(*A, 0.9, 0)]], [[]]), ([[]], [[(*A, 0)]])])
def test_val_without_boxes_or_without_detections_teaches_nothing(detections: list, truth: list) -> None:
    evidence = evidence_of(detections_of(detections, most=3), truth_of(truth), NAMES)
    layer = calibrated_layer(NAMES, fitted_calibration(evidence, NAMES))
    assert layer.thresholds == [0.5, 0.5]
    assert (layer.slope, layer.shift) == (1, 0)


def test_a_checkpoint_without_calibration_answers_as_trained() -> None:
    layer = calibrated_layer(NAMES, {})
    assert layer.thresholds is None and (layer.slope, layer.shift) == (1, 0)
    answers = BoxAnswers.of(evidence_of(FOUND, TRUTH, NAMES), layer)
    assert answers.thresholds_K.tolist() == [0.5, 0.5]
    assert answers.matches.score_D == pytest.approx(answers.raw.score_D)


def test_boxes_of_an_image_by_how_they_were_answered() -> None:
    evidence = evidence_of(FOUND, TRUTH, NAMES)
    answers = BoxAnswers.of(evidence, calibrated_layer(NAMES, {}))
    drawn = judged_boxes(answers, evidence, 0, NAMES)
    shown = {(tuple(box), kind, text) for box, kind, text in zip(drawn.boxes_xyxy.tolist(), *drawn[1:3], strict=True)}
    assert shown == {
        (B, "wrong", "cat 0.90"), (A, "right", "cat 0.80"), (B, "right", "dog 0.60"),
        (A, "true", ""), (B, "true", ""), (C, "missed", "dog"),
    }  # fmt: skip
    assert judged_boxes(answers, evidence, 1, NAMES).kinds == ["wrong"]


def test_the_table_of_the_images_by_hand() -> None:
    evidence = evidence_of([*FOUND, []], truth_of([[(*A, 0), (*B, 1), (*C, 1)], [], []]), NAMES)
    rows = image_rows(table_of(evidence), evidence, BoxAnswers.of(evidence, calibrated_layer(NAMES, {})))
    # F1 of the first: 2 right, 1 missed and 2 false alarms, one of which lies where the crowd was.
    assert rows == [
        ["0.png", "cat 1;dog 2", "3", "2", "1", "2", "0.571429"],
        ["1.png", "", "0", "0", "0", "1", "0"],
        ["2.png", "", "0", "0", "0", "0", "1"],
    ]


def test_training_images_are_drawn_with_their_boxes() -> None:
    images = [torch.zeros((3, 40, 60), dtype=torch.uint8), torch.zeros((3, 40, 40), dtype=torch.uint8)]
    targets = [{"boxes": torch.tensor([[10.0, 10, 20, 20]]), "labels": torch.tensor([1])}]
    targets.append({"boxes": torch.zeros((0, 4)), "labels": torch.zeros(0, dtype=torch.int64)})
    pixels = np.asarray(draw_batch(images, targets, ["dog 1", ""], NAMES))
    blue = np.argwhere((pixels == (0x56, 0xB4, 0xE9)).all(axis=2))  # the colour of class 1
    assert len(blue)
    # The first image is 60 px wide and drawn with 320: its box begins at 10 * 320 / 60, beyond margins.
    assert abs(blue[:, 1].min() - (8 + 10 * 320 / 60)) <= 2 and blue[:, 1].max() < 8 + 320
