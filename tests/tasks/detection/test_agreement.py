"""How far the answers of a checkpoint and of its exported file are apart."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from src.tasks.detection.agreement import Limits, compare

LIMITS = Limits(floor=0.05, most=4, most_iou=0.5, thresholds=np.array([0.5, 0.5], dtype=np.float32))
CAT = (10, 10, 50, 50, 0.9, 0)
DOG = (60, 10, 90, 50, 0.6, 1)
FAINT = (5, 60, 40, 90, 0.2, 0)


def outputs(*boxes: Any) -> dict[str, np.ndarray]:
    rows_D6 = np.array([*boxes, *[(0, 0, 0, 0, 0, -1)] * (110 - len(boxes))], dtype=np.float32)
    return {"boxes": rows_D6[None, :, :4], "scores": rows_D6[None, :, 4], "labels": rows_D6[None, :, 5]}


NAMES = ("x1", "y1", "x2", "y2", "score", "k")


def changed(box: Any, **changes: float) -> Any:
    return tuple(changes.get(name, value) for name, value in zip(NAMES, box, strict=True))


@pytest.mark.parametrize(
    ("other", "same", "difference"),
    [
        ((CAT, DOG, FAINT), 1, 0.0),
        ((changed(CAT, score=0.8999), DOG, FAINT), 1, 1e-4),
        ((CAT, DOG, changed(FAINT, score=0.23)), 1, 0.03),
        ((CAT, DOG), 1, 0.2),  # counts with its whole score
        ((CAT, FAINT), 0, 0.6),
        ((CAT, changed(DOG, score=0.49), FAINT), 0, 0.11),
        ((CAT, changed(DOG, k=0), FAINT), 0, 0.6),
        ((changed(CAT, x2=51), DOG, FAINT), 1, 0.9),  # the same object, but another box
        ((changed(CAT, x2=50.1), DOG, FAINT), 1, 0.0),
        ((CAT, DOG, FAINT, (100, 100, 120, 120, 0.3, 1)), 1, 1.0),  # in no order
        ((CAT, DOG, FAINT, (100, 100, 120, 120, 0.05005, 1)), 1, 0.0),  # at the floor
        ((CAT, DOG, FAINT, (100, 100, 120, 120, 0.06, 1)), 1, 0.06),
        ((CAT, DOG, FAINT, (10, 10, 50, 30, 0.15, 0)), 1, 0.0),  # overlaps the better one by just what is allowed
        ((CAT, DOG, FAINT, (10, 10, 50, 30, 0.15, 1)), 1, 0.15),  # of another class
        ((CAT, DOG, FAINT, (200, 10, 200.01, 30, 0.15, 0)), 1, 0.0),  # a sliver
        ((), 0, 0.9),
    ],
)
def test_differences(other: Any, same: int, difference: float) -> None:
    for one, two in ((outputs(CAT, DOG, FAINT), outputs(*other)), (outputs(*other), outputs(CAT, DOG, FAINT))):
        found = compare(one, two, LIMITS)
        assert found == (same, pytest.approx(difference, abs=1e-6)), found


def test_rounding_decides_between_equal_scores() -> None:
    """In which order they come, and which is the last one that is kept."""
    twin = changed(DOG, k=0, score=0.60001)
    assert compare(outputs(CAT, DOG, twin), outputs(CAT, twin, DOG), LIMITS)[1] < 1e-4
    four = [CAT, DOG, FAINT, (100, 100, 120, 120, 0.1, 1)]
    assert compare(outputs(*four), outputs(*four[:3], (130, 100, 150, 120, 0.10002, 1)), LIMITS)[1] < 1e-4
    assert compare(outputs(*four), outputs(*four[:3], (130, 100, 150, 120, 0.11, 1)), LIMITS)[1] > 0.1


def test_a_few_faint_boxes_may_be_others() -> None:
    """Of many, where scores are equal up to rounding; answers may not."""
    faint = [(20 * i, 0, 20 * i + 10, 10, 0.3 - 0.001 * i, 1) for i in range(100)]
    limits = replace(LIMITS, most=200)

    def moved(*places: int) -> list[Any]:
        return [changed(box, y1=3, y2=13) if i in places else box for i, box in enumerate(faint)]

    assert compare(outputs(CAT, *faint), outputs(CAT, *moved(50)), limits) == (1, 0.0)
    assert compare(outputs(CAT, *faint), outputs(CAT, *moved(50, 51)), limits)[1] == pytest.approx(0.25)
    assert compare(outputs(CAT, *faint), outputs(changed(CAT, y2=60), *faint), limits)[1] == pytest.approx(0.9)


def test_nothing_found_twice_is_the_same() -> None:
    assert compare(outputs(), outputs(), LIMITS) == (1, 0.0)
