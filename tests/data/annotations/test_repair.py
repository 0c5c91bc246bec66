"""What is wrong with boxes, what becomes of each, and what four numbers mean."""

from typing import Any

import numpy as np
import pytest

from src.data.annotations.raw import RawBoxes
from src.data.annotations.repair import repaired
from src.data.annotations.units import in_pixels
from src.data.table import string_column


def repair(
    box: list[float], size: tuple[int, int] = (100, 50), two_corners: bool = True
) -> tuple[list[float], bool, str]:
    boxes, usable, kinds = repaired(np.array([box]), np.array([size]), two_corners)
    return boxes[0].tolist(), bool(usable[0]), str(kinds[0])


@pytest.mark.parametrize(
    ("box", "fixed", "kind"),
    [
        ([10, 10, 20, 20], [10, 10, 20, 20], ""),
        ([-0.5, 0, 100.9, 50], [0, 0, 100, 50], ""),  # rounding
        ([-5, 10, 20, 60], [0, 10, 20, 50], "beyond"),
        ([20, 40, 10, 30], [10, 30, 20, 40], "swapped"),
        ([20, 30, 10, 40], [10, 30, 20, 40], "swapped"),
    ],
)
def test_one_meaning_is_left(box: list[float], fixed: list[float], kind: str) -> None:
    assert repair(box) == (fixed, True, kind)


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ([10, 10, 10, 20], "no_size"),
        ([110, 10, 120, 20], "outside"),
        ([-20, 10, 0, 20], "outside"),
        ([float("nan"), 10, 20, 20], "not_a_number"),
        ([0, 0, float("inf"), 20], "not_a_number"),
    ],
)
def test_no_meaning_is_left(box: list[float], kind: str) -> None:
    assert repair(box)[1:] == (False, kind)


def test_a_negative_size_is_no_swapped_corner() -> None:
    assert repair([20, 40, 10, 30], two_corners=False)[1:] == (False, "no_size")


def test_an_image_without_a_size() -> None:
    assert repair([1, 1, 2, 2], size=(0, 0))[1:] == (False, "no_image_size")


def raw(
    values: Any, form: Any = "xyxy", relative: bool = False, sources: list[str] | None = None, first: int = 0
) -> RawBoxes:
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    return RawBoxes(
        string_column(f"{i}.jpg" for i in range(count)), string_column(sources or ["a.json"] * count),
        string_column([""] * count), np.zeros((count, 2), dtype=np.int32), np.arange(count), values,
        np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_), np.arange(count), ["x"], form, relative, [],
        first,
    )  # fmt: skip


def some_boxes(count: int, size: tuple[int, int]) -> Any:
    """Corners of boxes all over the image, [count, 4]."""
    generator = np.random.default_rng(0)
    begin, side = generator.uniform(0, 0.7, (count, 2)), generator.uniform(0.1, 0.3, (count, 2))
    return np.concatenate([begin, begin + side], axis=1) * np.tile(size, 2)


def as_form(boxes: Any, form: str) -> Any:
    begin, end = boxes[:, :2], boxes[:, 2:]
    return {
        "xyxy": boxes,
        "xywh": np.concatenate([begin, end - begin], axis=1),
        "cxcywh": np.concatenate([(begin + end) / 2, end - begin], axis=1),
    }[form]


@pytest.mark.parametrize("unit", ["pixels", "shares", "percent"])
@pytest.mark.parametrize(("said", "is_relative"), [("xyxy", False), ("xywh", False), ("cxcywh", True)])
@pytest.mark.parametrize("written", ["said", "xyxy"])
def test_what_is_meant_is_found(unit: str, said: str, is_relative: bool, written: str) -> None:
    size = (640, 480)
    boxes = some_boxes(40, size)
    values = as_form(boxes, said if written == "said" else written)
    values = values / {"pixels": 1, "shares": np.tile(size, 2), "percent": np.tile(size, 2) / 100}[unit]
    notes: list[str] = []
    found = in_pixels(raw(values, said, is_relative), np.tile(size, (40, 1)), notes)
    np.testing.assert_allclose(found, boxes, atol=1e-9)
    as_said = unit == ("shares" if is_relative else "pixels") and written in ("said", said)
    assert len(notes) == (0 if as_said else 1)


def test_corners_that_are_meant_as_sizes() -> None:
    boxes = some_boxes(40, (640, 480))
    notes: list[str] = []
    found = in_pixels(raw(as_form(boxes, "xywh"), "xyxy"), np.tile((640, 480), (40, 1)), notes)
    np.testing.assert_allclose(found, boxes)
    assert len(notes) == 1
    assert notes[0].startswith("a.json: boxes are a corner and a size in pixels and not two corners in pixels: nothing")


@pytest.mark.parametrize("count", [1, 3, 40])
def test_some_wrong_boxes_change_nothing(count: int) -> None:
    """Full of large objects whose boxes reach a little beyond the image: both readings nearly fit."""
    values = np.tile([10.0, 10, 633, 475], (count, 1))
    notes: list[str] = []
    found = in_pixels(raw(values, "xywh"), np.tile((640, 480), (count, 1)), notes)
    assert found[0].tolist() == [10, 10, 643, 485] and not notes


@pytest.mark.parametrize(("good", "misfits"), [(37, 3), (0, 2)])
def test_few_boxes_that_fit_otherwise_change_nothing(good: int, misfits: int) -> None:
    values = [[10, 10, 600, 440]] * good + [[100, 100, 620, 470]] * misfits
    notes: list[str] = []
    in_pixels(raw(values, "xywh"), np.tile((640, 480), (good + misfits, 1)), notes)
    assert not notes
    in_pixels(raw(values[-1:] * 20, "xywh"), np.tile((640, 480), (20, 1)), notes)
    assert len(notes) == 1


def test_small_boxes_in_a_corner_are_not_percent() -> None:
    notes: list[str] = []
    in_pixels(raw(some_boxes(9, (100, 100))), np.tile((640, 480), (9, 1)), notes)
    in_pixels(raw(some_boxes(40, (100, 100))), np.tile((100, 100), (40, 1)), notes)
    in_pixels(raw(some_boxes(40, (40, 40))), np.tile((640, 480), (40, 1)), notes)
    assert not notes


def test_each_file_is_looked_at_on_its_own() -> None:
    boxes = some_boxes(60, (640, 480))
    values = np.concatenate([boxes[:30], boxes[30:] / np.tile((640, 480), 2)])
    notes: list[str] = []
    found = in_pixels(raw(values, sources=["a.json"] * 30 + ["b.json"] * 30), np.tile((640, 480), (60, 1)), notes)
    np.testing.assert_allclose(found, boxes)
    assert len(notes) == 1 and notes[0].startswith("b.json: boxes are two corners in shares")


def test_broken_boxes_do_not_decide() -> None:
    boxes = some_boxes(40, (640, 480))
    boxes[::3] = np.nan
    notes: list[str] = []
    np.testing.assert_array_equal(in_pixels(raw(boxes), np.tile((640, 480), (40, 1)), notes), boxes)
    assert not notes


def test_pixels_counted_from_one_end_with_the_last_one() -> None:
    notes: list[str] = []
    size = np.array([[640, 480]] * 2)
    found = in_pixels(raw([[1, 1, 640, 480], [5, 5, 6, 6]], first=1), size, notes)
    assert found.tolist() == [[0, 0, 640, 480], [4, 4, 6, 6]] and not notes
    found = in_pixels(raw([[0, 0, 640, 480], [5, 5, 6, 6]], first=1), size, notes)
    assert found.tolist() == [[0, 0, 640, 480], [5, 5, 6, 6]] and "counted from 0" in notes[0]
