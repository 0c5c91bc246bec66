"""Boxes that nearly are the same, and boxes of two copies of an image that have no counterpart."""

import numpy as np
import pytest

from src.data.box_overlaps import alike_pairs, unmatched
from src.data.boxes import Boxes
from src.evaluation.boxes.overlaps import iou


def test_iou_of_boxes_and_their_counterparts() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [3, 3, 3, 3]], dtype=np.float64)
    others = np.array([[0, 0, 10, 5], [5, 5, 15, 15], [20, 0, 30, 10], [3, 3, 3, 3]], dtype=np.float64)
    assert iou(boxes, others) == pytest.approx([0.5, 25 / 175, 0, 0])


@pytest.mark.parametrize("least", [0.5, 0.95])
def test_all_pairs_are_found_that_comparing_each_with_each_finds(least: float) -> None:
    generator = np.random.default_rng(0)
    begin, side = generator.integers(0, 12, (300, 2)), generator.integers(1, 30, (300, 2))
    boxes = np.concatenate([begin, begin + side], axis=1).astype(np.float32)
    boxes[::7] = boxes[0]
    images = generator.integers(0, 3, 300)
    every = iou(boxes[:, None].astype(np.float64), boxes[None].astype(np.float64)) > least
    wanted = np.argwhere(np.triu(every & (images[:, None] == images[None]), 1))
    assert len(wanted) > 250
    np.testing.assert_array_equal(alike_pairs(boxes, images, least), wanted)
    assert alike_pairs(boxes[:0], images[:0], least).shape == (0, 2)


def test_many_boxes_are_compared_in_a_moment() -> None:
    """100,000 in one image: each with each would be five billion pairs."""
    generator = np.random.default_rng(0)
    begin = generator.uniform(0, 1e6, (100_000, 2))
    boxes = np.concatenate([begin, begin + 50], axis=1).astype(np.float32)
    boxes[-100:] = boxes[:100]
    pairs = alike_pairs(boxes, np.zeros(len(boxes), dtype=np.int64), 0.95)
    assert pairs.tolist() == [[m, len(boxes) - 100 + m] for m in range(100)]


def test_each_box_gets_one_partner_the_nearest_first() -> None:
    one = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], dtype=np.float32)
    other = np.array([[1, 0, 11, 10], [50, 50, 60, 60]], dtype=np.float32)
    left = unmatched(one, np.array([0, 0, 1]), other, np.array([0, 2]))
    assert [mask.tolist() for mask in left] == [[True, False, True], [False, True]]


def copies(*images: list[tuple[float, float, float, float, int]], sizes: list[tuple[int, int]] | None = None) -> Boxes:
    """Of images of 100 x 100 pixels, if no sizes are given, boxes with a class each."""
    rows = [box for image in images for box in image]
    counts = np.array([len(image) for image in images])
    sides = np.array(sizes or [(100, 100)] * len(images))
    values = np.column_stack([np.cumsum(counts) - counts, counts, sides])
    table = np.array(rows, dtype=np.float32).reshape(-1, 5)
    classes = table[:, 4].astype(np.int64)
    return Boxes(values, ["cat", "dog"], table[:, :4], classes, np.zeros(len(rows), dtype=np.bool_))


CAT, DOG = (10, 10, 50, 50, 0), (60, 60, 90, 90, 1)


@pytest.mark.parametrize(
    ("one", "other", "differ", "nearly"),
    [
        ([CAT, DOG], [DOG, CAT], False, False),
        ([CAT], [(12, 11, 52, 50, 0)], False, False),
        ([CAT], [(40, 40, 80, 80, 0)], True, False),  # as many, elsewhere: in the next frame it has moved
        ([CAT, DOG], [CAT], True, False),
        ([CAT, DOG, (0, 0, 9, 9, 0)], [CAT], True, True),  # far fewer
        ([CAT], [], True, True),
        ([CAT, DOG], [CAT, (60, 60, 90, 90, 0)], True, True),  # another class in the same place
        ([], [], False, False),
    ],
)
def test_when_copies_contradict_each_other(one: list, other: list, differ: bool, nearly: bool) -> None:
    boxes = copies(one, other)
    rows = np.array([0, 1]), np.array([1, 0])
    assert boxes.differ(*rows).tolist() == [differ, differ]
    assert boxes.differ(*rows, near=True).tolist() == [nearly, nearly]


def test_copies_of_another_size_are_compared_in_shares() -> None:
    boxes = copies([CAT], [(20, 5, 100, 25, 0)], sizes=[(100, 100), (200, 50)])
    assert not boxes.differ(np.array([0]), np.array([1])).any()
