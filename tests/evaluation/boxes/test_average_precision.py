"""AP and AR of boxes: by hand, as COCO's code counts them, in pieces, and with weights of the images."""

import numpy as np
import pytest
import torch
from support.box_scenes import detections_of, drawn_scenes, some_of, truth_of
from support.slow import one_in
from torchmetrics.detection import MeanAveragePrecision

from src.evaluation.boxes.average_precision import (
    AveragePrecision,
    AverageRecall,
    ap_intervals,
    box_intervals,
    box_metrics,
    metrics_per_class,
)  # fmt: skip
from src.evaluation.boxes.matches import AREAS, TrueBoxes, joined
from src.evaluation.boxes.matching import match

NAMES = {
    "ap": "map", "ap50": "map_50", "ap75": "map_75", "ap_small": "map_small", "ap_medium": "map_medium",
    "ap_large": "map_large", "ar_1": "mar_1", "ar_10": "mar_10", "ar": "mar_1000",
}  # fmt: skip


def by_coco(detections_ND6: np.ndarray, truth: TrueBoxes) -> dict[str, torch.Tensor]:
    """Thresholds as COCO has them: those of torchmetrics are rounded to float32."""
    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        class_metrics=True,
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
        max_detection_thresholds=[1, 10, 1000],
    )
    metric.warn_on_many_detections = False
    for i, rows in enumerate(detections_ND6):
        rows, one = torch.from_numpy(rows[rows[:, 5] >= 0]), some_of(truth, np.array([i]))
        found = {"boxes": rows[:, :4], "scores": rows[:, 4], "labels": rows[:, 5].long()}
        columns = {"boxes": one.boxes_xyxy_M4, "labels": one.class_M, "iscrowd": one.crowd_M.astype(np.int64)}
        metric.update([found], [{name: torch.from_numpy(column) for name, column in columns.items()}])
    return metric.compute()


@pytest.mark.parametrize("first", one_in(3, range(0, 300, 60)))
def test_equal_to_coco(first: int) -> None:
    """Crowds, ties, images without boxes, absent classes, more than 100 boxes in an image; -1 there is NaN here."""
    generator, above_zero = np.random.default_rng(first), 0
    for seed in range(first, first + 60):
        images, most = int(generator.integers(1, 8)), int(generator.choice([0, 3, 20, 150]))
        boxes, classes = float(generator.choice([0, 1, 5, 12 if most < 100 else 60])), int(generator.choice([2, 3, 9]))
        detections_ND6, truth = drawn_scenes(seed, images, most, boxes, classes)
        matches = match(detections_ND6, truth, classes)
        theirs, ours, per_class = by_coco(detections_ND6, truth), box_metrics(matches), metrics_per_class(matches)["ap"]
        expected = {name: float(theirs[key]) for name, key in NAMES.items()}
        assert {name: -1 if np.isnan(one) else one for name, one in ours.items()} == pytest.approx(expected, abs=1e-6)
        above_zero += ours["ap"] > 0
        known = np.atleast_1d(theirs["classes"].numpy())
        if len(known) > 1:
            assert np.nan_to_num(per_class[known], nan=-1) == pytest.approx(theirs["map_per_class"].numpy(), abs=1e-6)
    assert above_zero > 20


def test_by_hand() -> None:
    """Two true boxes; right, wrong, right by score: precision 1 up to a recall of 1/2, then 2/3."""
    truth = truth_of([[(0, 0, 10, 10, 0)], [(0, 0, 10, 10, 0)]])
    detections_ND6 = detections_of([[(0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 0)], [(0, 0, 10, 7.6, 0.7, 0)]])
    metrics = box_metrics(match(detections_ND6, truth, 2))
    assert [metrics["ap50"], metrics["ap75"]] == pytest.approx([(51 + 50 * 2 / 3) / 101] * 2)
    assert metrics["ap"] == pytest.approx((6 * (51 + 50 * 2 / 3) + 4 * 51) / 101 / 10)  # IoU 0.76: 6 of 10 thresholds
    assert metrics["ar"] == metrics["ar_1"] == pytest.approx((6 + 4 * 0.5) / 10)
    assert metrics["ap_small"] == metrics["ap"] and np.isnan(metrics["ap_large"])
    per_class = metrics_per_class(match(detections_ND6, truth, 2))
    assert per_class["ap50"][0] == metrics["ap50"] and np.isnan(per_class["ap50"]).tolist() == [False, True]


def test_more_than_a_hundred_boxes_in_an_image_are_all_counted() -> None:
    boxes = [(x, y, x + 8, y + 8) for x in range(0, 150, 10) for y in range(0, 100, 10)]
    detections_ND6 = detections_of([[(*box, 1 - i / 1000, 0) for i, box in enumerate(boxes)]])
    metrics = box_metrics(match(detections_ND6, truth_of([[(*box, 0) for box in boxes]]), 1))
    assert metrics["ap"] == metrics["ar"] == 1 and metrics["ar_10"] == pytest.approx(10 / 150)


def test_without_true_boxes_there_is_no_ap() -> None:
    matches = match(detections_of([[(0, 0, 9, 9, 0.9, 0)], []]), truth_of([[], []]), 2)
    assert all(np.isnan(value) for value in box_metrics(matches).values()) and not ap_intervals(matches, None)
    nothing = match(detections_of([[]]), truth_of([[(0, 0, 9, 9, 0)]]), 2)
    assert box_metrics(nothing)["ap"] == box_metrics(nothing)["ar"] == 0


def test_pieces_of_the_images_change_nothing() -> None:
    detections_ND6, truth = drawn_scenes(4, 12, 20, 5, 3)
    whole = match(detections_ND6, truth, 3)
    parts = [np.arange(0, 5), np.arange(5, 6), np.arange(6, 12)]
    together = joined([match(detections_ND6[part], some_of(truth, part), 3) for part in parts])
    for name, values in vars(whole).items():
        assert np.array_equal(getattr(together, name), values), name
    by_turns = [np.arange(0, 12, 2), np.arange(1, 12, 2)]  # as two processes have them
    mixed = joined([match(detections_ND6[part], some_of(truth, part), 3) for part in by_turns])
    mixed = mixed.renumbered(np.concatenate(by_turns), 12)
    assert box_metrics(mixed) == pytest.approx(box_metrics(whole), abs=1e-12)


def test_a_weight_says_how_often_an_image_counts() -> None:
    """Without equal scores in an image, whose copies would come in another order."""
    for seed in range(8):
        detections_ND6, truth = drawn_scenes(seed, 6, 12, 4, 3, ties=0)
        ap, ar = (kind(match(detections_ND6, truth, 3)) for kind in (AveragePrecision, AverageRecall))
        measure = lambda weights_N=None: ap.metrics(weights_N) | {"ar": ar(weights_N)}  # noqa: B023, E731
        assert measure(np.ones(6)) == measure()
        images = np.repeat(np.arange(6), [2, 0, 1, 3, 0, 1])
        matches = match(detections_ND6[images], some_of(truth, images), 3)
        repeated = AveragePrecision(matches).metrics() | {"ar": AverageRecall(matches)()}
        assert measure(np.bincount(images, minlength=6).astype(float)) == pytest.approx(repeated, nan_ok=True)
        assert measure(np.full(6, 0.3)) == pytest.approx(measure(), nan_ok=True)


def test_intervals_hold_the_value_and_groups_are_drawn_together() -> None:
    detections_ND6, truth = drawn_scenes(1, 40, 8, 3, 2)
    matches = match(detections_ND6, truth, 2)
    value, intervals = AveragePrecision(matches).metrics(), ap_intervals(matches, None)
    assert set(intervals) == {"ap", "ap50", "ap75"}
    assert all(low < value[name] < high and high - low < 0.4 for name, (low, high) in intervals.items())
    twice = np.repeat(np.arange(40), 2)
    doubled = match(detections_ND6[twice], some_of(truth, twice), 2)
    assert ap_intervals(doubled, twice)["ap"] == pytest.approx(intervals["ap"])
    assert np.diff(ap_intervals(doubled, None)["ap"]) < np.diff(intervals["ap"])  # copies taken for independent images


def test_intervals_of_sizes_and_of_recall() -> None:
    """Drawn with the same images as those of AP; of sizes that are not there, none."""
    detections_ND6, truth = drawn_scenes(1, 40, 8, 3, 2)
    matches = match(detections_ND6, truth, 2)
    value, intervals = box_metrics(matches), box_intervals(matches, None)
    assert intervals.items() >= ap_intervals(matches, None).items()
    there = [name for area, name in enumerate(AREAS) if area and matches.countable(area).any()]
    assert set(intervals) == {"ap", "ap50", "ap75", "ar", *(f"ap_{name}" for name in there)} and 0 < len(there) < 3
    assert all(low < value[name] < high for name, (low, high) in intervals.items())


def test_average_recall_with_a_limit_of_an_image_and_class() -> None:
    truth = truth_of([[(0, 0, 10, 10, 0), (20, 0, 30, 10, 0), (40, 0, 50, 10, 1)]])
    detections_ND6 = detections_of([[(0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 0), (40, 0, 50, 10, 0.1, 1)]])
    matches = match(detections_ND6, truth, 2)
    assert AverageRecall(matches, 1)() == pytest.approx((0.5 + 1) / 2) and AverageRecall(matches)() == 1
