"""What is said about an image with objects: which boxes count, as rows, as JSON, in words, and compared."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from src.evaluation.found_objects import joined
from src.tasks.detection.prediction import DetectionPrediction


@dataclass
class Facts:
    thresholds: list[float] | None
    class_names: list[str] = field(default_factory=lambda: ["cat", "dog"])


OUTPUTS = {
    "boxes": np.float32([[[1, 2, 11, 22], [5, 5, 9, 5], [0, 0, 4, 4], [3, 3, 6, 8], [0, 0, 0, 0]]]),
    "scores": np.float32([[0.9, 0.8, 0.5, 0.3, 0]]),
    "labels": np.float32([[1, 1, 0, 1, -1]]),
}


def found(thresholds: list[float] | None) -> DetectionPrediction:
    (one,) = DetectionPrediction.of(OUTPUTS, Facts(thresholds))
    return one


@pytest.mark.parametrize(
    ("thresholds", "scores"),
    [(None, [0.9, 0.5]), ([0.6, 0.3], [0.9, 0.3]), ([0.0, 0.0], [0.9, 0.5, 0.3]), ([1, 1], [])],
)
def test_each_class_has_its_threshold(thresholds: list[float] | None, scores: list[float]) -> None:
    """0.5 where there are none. A box without height is none, and rows of the class -1 are none."""
    assert found(thresholds).numbers.tolist() == pytest.approx(scores)


def test_rows_json_and_words() -> None:
    one, nothing = found(None), found([1, 1])
    assert one.rows()[0] == {
        "x1": "1.00", "y1": "2.00", "x2": "11.00", "y2": "22.00", "prediction": "dog", "score": "0.900000",
    }  # fmt: skip
    assert [*one.rows()[0], "error"] == one.columns(["cat", "dog"])
    assert nothing.rows() == [dict.fromkeys(one.rows()[0], "")] and nothing.as_json() == {"boxes": []}
    assert one.as_json(top_k=1) == {"boxes": [{"box_xyxy": [1, 2, 11, 22], "prediction": "dog", "score": 0.9}]}
    assert one.annotations((40, 30))[0] == {"category_id": 2, "bbox": [1, 2, 10, 20], "score": 0.9, "area": 200}
    assert one.words == "dog 0.900, cat 0.500" and one.answer == "cat 1, dog 1" and nothing.answer == "nothing"
    again = DetectionPrediction.read({"path": "a.jpg", "error": "", **one.rows()[0]})
    assert again.rows() == one.rows()[:1] and len(DetectionPrediction.read(nothing.rows()[0])) == 0


def test_outputs_of_single_images_are_joined() -> None:
    some = {
        "boxes": np.float32([[1, 2, 3, 4], [0, 0, 2, 2]]),
        "scores": np.float32([0.9, 0.1]),
        "labels": np.array([1, 0]),
    }
    none = {"boxes": np.empty((0, 4), np.float32), "scores": np.empty(0, np.float32), "labels": np.empty(0, np.int64)}
    outputs = joined([none, some], [(1, 1), (2, 3)], [(9, 9)] * 2)
    assert outputs["boxes"].tolist() == [[[0] * 4] * 2, [[2, 6, 6, 12], [0, 0, 4, 6]]]
    assert outputs["labels"].tolist() == [[-1, -1], [1, 0]] and outputs["labels"].dtype == np.float32
    assert joined([none, none], [(1, 1)] * 2, [(9, 9)] * 2)["boxes"].shape == (2, 0, 4)
    assert [len(one) for one in DetectionPrediction.of(outputs, Facts(None))] == [0, 1]
