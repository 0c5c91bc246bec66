"""What is answered at thresholds: precision and recall, confusion, sizes, worst images; and why AP is 0."""

import numpy as np
import pytest
from support.box_scenes import detections_of, drawn_scenes, truth_of

from src.evaluation.boxes.average_precision import AveragePrecision
from src.evaluation.boxes.confusion import count_box_confusions
from src.evaluation.boxes.matches import LARGE, SMALL
from src.evaluation.boxes.matching import match
from src.evaluation.boxes.precision_recall import best_thresholds, curves, mean_curve, mean_scores, scores_of
from src.evaluation.boxes.sizes import count_by_size, errors_per_image, worst_images
from src.evaluation.boxes.zero_reasons import why_class_is_zero, why_zero

A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)  # far from each other
NOWHERE = (80, 80, 90, 90)


def test_the_curve_by_hand_equal_scores_being_accepted_together() -> None:
    detections = [(*A, 0.9, 0), (*NOWHERE, 0.5, 0), (*B, 0.5, 0), (*NOWHERE, 0.25, 0)]
    curve, none = curves(match(detections_of([detections]), truth_of([[(*A, 0), (*B, 0), (*C, 0)]]), 2))
    assert curve.score_S == pytest.approx([0.9, 0.5, 0.25])
    assert curve.precision_S == pytest.approx([1, 2 / 3, 1 / 2])
    assert curve.recall_S == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert curve.f1 == pytest.approx([1 / 2, 2 / 3, 4 / 7]) and not len(none.score_S)


def test_the_mean_curve_by_hand_and_its_mean_is_ap50() -> None:
    detections = [(*A, 0.9, 0), (*NOWHERE, 0.5, 0), (*B, 0.25, 0), (*C, 0.5, 1)]
    matches = match(detections_of([detections]), truth_of([[(*A, 0), (*B, 0), (*C, 1), (60, 0, 70, 10, 1)]]), 3)
    curve = mean_curve(curves(matches), matches.true_counts())
    # Class 0: 1 up to a recall of a half, then 2/3; class 1: 1, then nothing; class 2 has no true box.
    assert curve[:51].tolist() == [1] * 51 and curve[51:] == pytest.approx([1 / 3] * 50)
    assert mean_curve(curves(matches), np.zeros(3)).tolist() == [0] * 101
    for seed in range(4):
        detections_ND6, truth = drawn_scenes(seed, 8, 15, 4, 3, ties=0)
        matches = match(detections_ND6, truth, 3)
        mean = mean_curve(curves(matches), matches.true_counts()).mean()
        assert mean == pytest.approx(AveragePrecision(matches).metrics()["ap50"], abs=0.02)


def test_thresholds_have_the_best_f1_and_lie_in_the_middle() -> None:
    detections = [(*A, 0.9, 0), (*B, 0.7, 0), (*NOWHERE, 0.3, 0), (*C, 0.2, 1), (*NOWHERE, 0.1, 2)]
    truth = [(*A, 0), (*B, 0), (*C, 1), (60, 0, 70, 10, 3)]
    matches = match(detections_of([detections]), truth_of([truth]), 4)
    # Class 2 has no true box and class 3 no detection: both get the mean of the others.
    assert best_thresholds(matches) == pytest.approx([0.5, 0.1, 0.3, 0.3])
    scores = scores_of(matches.accepted(best_thresholds(matches)))
    assert scores.precision.tolist() == [1, 1, 0, 0] and scores.recall.tolist() == [1, 1, 0, 0]
    assert scores.images.tolist() == [2, 1, 0, 1]
    assert mean_scores(matches.accepted([0.5, 0.5, 0.5, 0.5]))["recall"] == pytest.approx(1 / 3)


def test_of_equal_f1_the_higher_score_and_a_half_if_nothing_is_right() -> None:
    detections = [(*A, 0.75, 0), (*NOWHERE, 0.5, 0), (*NOWHERE, 0.375, 0), (*B, 0.25, 0)]
    matches = match(detections_of([detections]), truth_of([[(*A, 0), (*B, 0)]]), 1)
    assert curves(matches)[0].f1[[0, 3]] == pytest.approx([2 / 3, 2 / 3])
    assert best_thresholds(matches).tolist() == [0.625]
    wrong = match(detections_of([[(*NOWHERE, 0.9, 0)]]), truth_of([[(*A, 0)]]), 2)
    assert (
        best_thresholds(wrong).tolist()
        == [0.5, 0.5]
        == best_thresholds(match(detections_of([[]]), truth_of([[]]), 2)).tolist()
    )


def test_no_other_threshold_has_a_better_f1() -> None:
    for seed in range(5):
        detections_ND6, truth = drawn_scenes(seed, 8, 15, 4, 3)
        matches = match(detections_ND6, truth, 3)
        best = scores_of(matches.accepted(best_thresholds(matches))).f1
        others = [scores_of(matches.accepted(np.full(3, one))).f1 for one in np.linspace(0, 1, 41)]
        assert (best >= np.max(others, axis=0) - 1e-12).all() and best.any()


def test_weights_of_images_in_precision_and_recall() -> None:
    truth = truth_of([[(*A, 0)], [(*A, 0)]])
    matches = match(detections_of([[(*A, 0.9, 0)], [(*B, 0.9, 0)]]), truth, 1)
    assert mean_scores(matches, np.array([3.0, 1.0])) == pytest.approx({"precision": 0.75, "recall": 0.75, "f1": 0.75})
    assert np.isnan(mean_scores(match(detections_of([[]]), truth_of([[]]), 1))["f1"])


def test_confusion_by_hand() -> None:
    """Right; a wrong class although a worse-placed right one is there; missed; a false alarm; in a crowd."""
    truth = [(*A, 0), (*B, 0), (*C, 1), (100, 100, 200, 200, 1, 1)]
    detections = [
        (*A, 0.9, 0), (20, 0, 30, 8, 0.8, 0), (*B, 0.3, 1), (*NOWHERE, 0.6, 1), (120, 120, 130, 130, 0.5, 1),
        (120, 120, 130, 130, 0.4, 0),
    ]  # fmt: skip
    counts = count_box_confusions(match(detections_of([detections]), truth_of([truth]), 2))
    assert counts.matrix().tolist() == [[1, 1, 0], [0, 0, 1], [2, 1, 0]]
    assert counts.most_confused(1) == [(2, 0, 2)]


def test_confusion_is_what_joining_one_pair_after_the_other_gives() -> None:
    for seed in range(6):
        detections_ND6, truth = drawn_scenes(seed, 4, 40, 8, 3)
        matches = match(detections_ND6, truth, 3)
        pairs = [
            (-iou, -float(matches.score_D[i]), int(i), int(j))
            for iou, i, j in zip(matches.iou_P, matches.detection_P, matches.box_P, strict=True)
            if iou >= 0.5 and not matches.crowd_M[j]
        ]
        partner, taken = {}, set()
        for _, _, i, j in sorted(pairs):
            if i not in partner and j not in taken:
                partner[i] = j
                taken.add(j)
        matrix = count_box_confusions(matches).matrix()
        expected = np.zeros((3, 3), dtype=int)
        for i, j in partner.items():
            expected[matches.class_M[j], matches.class_D[i]] += 1
        assert matrix[:3, :3].tolist() == expected.tolist() and matrix[3, 3] == 0
        assert matrix[:3].sum() == (~matches.crowd_M).sum()


def test_misses_and_false_alarms_by_size_and_the_worst_images() -> None:
    side = {"small": 31.0, "medium": SMALL**0.5, "large": LARGE**0.5}
    boxes = [(0, 200 * i, side[name], 200 * i + side[name]) for i, name in enumerate(side)]
    truth = truth_of([[(*box, 0) for box in boxes], [(*A, 0)], [(*A, 0)]])
    first = [(*boxes[0], 0.9, 0), (500, 500, 540, 540, 0.8, 0)]
    detections_ND6 = detections_of([first, [(*A, 0.9, 0)], [(*B, 0.3, 0)]])
    matches = match(detections_ND6, truth, 1)
    counts = count_by_size(matches.accepted([0.5]))
    assert counts.true.tolist() == [3, 1, 1] and counts.missed.tolist() == [1, 1, 1]
    assert counts.false_alarms.tolist() == [0, 1, 0]
    assert worst_images(matches.accepted([0.5]), 5) == [(0, 2, 1), (2, 1, 0)]
    assert worst_images(matches, 1) == [(0, 2, 1)] and errors_per_image(matches)[1].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("detections", "truth", "words"),
    [
        ([], [(*A, 0)], "no box was predicted in any of the 1 images"),
        ([(*A, 0.9, 0)], [], "no true box to be found"),
        (
            [(*B, 0.9, 0), (*B, 0.25, 0)],
            [(*A, 0)],
            "predicted boxes: 2, in 1 of 1 images; highest score 0.900; none overlaps",
        ),
        ([(0, 0, 10, 3, 0.9, 0)], [(*A, 0)], "best IoU with a true box of any class 0.30, and at least 0.5 is needed"),
        ([(0, 0, 10, 9, 0.9, 1)], [(*A, 0)], "0.90; boxes with an IoU of at least 0.5: 1, all with a wrong class"),
    ],
)
def test_why_ap_is_zero(detections: list, truth: list, words: str) -> None:
    matches = match(detections_of([detections]), truth_of([truth]), 2)
    assert words in why_zero(matches)
    assert not AveragePrecision(matches).metrics()["ap"] > 0


@pytest.mark.parametrize(
    ("detections", "words"),
    [
        ([], "no box of it was predicted, and there are 2"),
        ([(*A, 0.9, 1)], "there are 2; 1 of its boxes were found as another class, most often as dog"),
        ([(*NOWHERE, 0.9, 0)], "predicted boxes: 1, highest score 0.900, none is near one"),
        ([(0, 0, 10, 3, 0.9, 0)], "highest score 0.900, the best IoU with one of its 2 true boxes is 0.30"),
    ],
)  # fmt: skip
def test_why_ap_of_a_class_is_zero(detections: list, words: str) -> None:
    truth = [(*A, 0), (*B, 0), (*C, 1)]
    matches = match(detections_of([[*detections, (*C, 0.5, 1)]]), truth_of([truth]), 2)
    assert why_class_is_zero(matches, 0, ["cat", "dog"]).endswith(words)
