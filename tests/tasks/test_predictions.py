"""src/tasks/*/prediction.py: one prediction as a csv row, as JSON, in words, compared, and read back."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from src.evaluation.prediction import Floats, Outputs, Prediction
from src.predicting.output import require_confidence
from src.settings.errors import ConfigError
from src.settings.options import task_names
from src.settings.project import PROJECT_ROOT
from src.tasks.classification.export import ClassificationOutputs
from src.tasks.detection.export import DetectionOutputs
from src.tasks.lookup import prediction_class
from src.tasks.multilabel.export import MultilabelOutputs
from src.tasks.regression.export import RegressionOutputs
from src.training.output_layer import OutputLayer

UNIT = np.ones(1, dtype=np.float32)


@dataclass
class Facts:
    class_names: list[str]
    thresholds: list[float] | None = None


def scores(*rows: list[float]) -> Outputs:
    return {"probabilities": np.float32(rows), "ood_score": np.zeros(len(rows), dtype=np.float32)}


def one(task: str, outputs: Outputs, facts: Facts) -> Any:
    (found,) = prediction_class(task).of(outputs, facts)
    return found


CLASS = one("classification", scores([0.2, 0.7, 0.1]), Facts(["ant", "bee", "cat"]))
TAGS = one("multilabel", scores([0.2, 0.7, 0.6]), Facts(["ant", "bee", "cat"], [0.5, 0.5, 0.65]))
NUMBERS = one("regression", {"values": np.float32([[1.23456789, -4]])}, Facts(["label", "y"]))
EVERY = [CLASS, TAGS, NUMBERS]


@pytest.mark.parametrize("prediction", EVERY)
def test_a_row_has_the_columns_and_reads_back(prediction: Prediction) -> None:
    names = getattr(prediction, "class_names", None) or prediction.targets  # type: ignore[attr-defined]
    row = prediction.rows()[0]
    assert [name for name in prediction.columns(names) if name != "error"] == list(row)
    assert set(prediction.needed_columns) <= set(row)
    again = prediction.read({"path": "a.png", "label": "bee", "error": "", **row})
    assert again.answer == prediction.answer
    narrow = {name: row[name] for name in prediction.columns(names, wide=False) if name in row}
    assert prediction.read(narrow).answer == prediction.answer
    json.dumps(prediction.as_json(), allow_nan=False)


def test_texts_and_json() -> None:
    assert CLASS.words == "bee 0.700" and TAGS.words == "bee 0.70" and NUMBERS.words == "1.235; -4"
    assert CLASS.as_json(top_k=1) == {
        "prediction": "bee", "confidence": 0.7, "ood_score": 0.0, "probabilities": {"bee": 0.7},
    }  # fmt: skip
    assert TAGS.as_json()["prediction"] == ["bee"] and list(TAGS.as_json()["probabilities"]) == ["bee", "cat", "ant"]
    assert NUMBERS.as_json() == {"values": {"label": 1.23457, "y": -4.0}}
    assert NUMBERS.rows()[0] == {"predicted:label": "1.23457", "y": "-4"}  # label is a column of the report's files
    nothing = one("classification", scores([np.nan, np.nan]), Facts(["a", "b"])).as_json()
    assert nothing["prediction"] is nothing["confidence"] is nothing["probabilities"]["a"] is None


def test_right_and_wrong() -> None:
    assert CLASS.error("bee") == 0 and CLASS.error("ant") == 1
    assert TAGS.error("bee") == 0 and TAGS.error("ant;bee") == 1 and TAGS.error("") == 1
    assert NUMBERS.error("1.23457;-6") == pytest.approx(1, abs=1e-5)
    for label in ("1", "1;x"):
        with pytest.raises(ValueError):
            NUMBERS.error(label)


def test_abstaining() -> None:
    assert CLASS.abstaining(0.7) is CLASS and CLASS.abstaining(None) is CLASS
    silent = CLASS.abstaining(0.71)
    assert silent.rows()[0]["prediction"] == "" and silent.as_json()["prediction"] is None and silent.confidence > 0
    for prediction in EVERY:
        if prediction is not CLASS:
            with pytest.raises(ConfigError, match="leave it null"):
                require_confidence(prediction.can_abstain, 0.5)


def test_the_same_within_the_tolerance() -> None:
    rows = ([0.44999, 0.45001, 0.1], [0.45001, 0.44999, 0.1], [0.4, 0.5, 0.1])
    tied, turned, sure = (one("classification", scores(row), Facts(["a", "b", "c"])) for row in rows)
    assert tied.answer != turned.answer and tied.same_as(turned, UNIT) and not sure.same_as(turned, UNIT)
    assert sure.difference(turned, UNIT) == pytest.approx(0.05001, abs=1e-5)
    below, above, low = (one("multilabel", scores([p]), Facts(["a"], [0.5])) for p in (0.49995, 0.50005, 0.4))
    assert below.same_as(above, UNIT) and low.same_as(below, UNIT) and not low.same_as(above, UNIT)
    unit: Floats = np.float32([10, 100])
    moved = one("regression", {"values": np.float32([[1.24, -3.95]])}, Facts(["x", "y"]))
    assert NUMBERS.same_as(moved, unit) and not NUMBERS.same_as(moved, unit / 10)


LAYERS: dict[str, OutputLayer] = {
    "classification": ClassificationOutputs(["a", "b"], 2.0),
    "multilabel": MultilabelOutputs(["a", "b"], 2.0, torch.tensor([0.5, 0.9])),
    "regression": RegressionOutputs(["a", "b"], torch.tensor([5.0, 6.0]), torch.tensor([2.0, 3.0])),
    "detection": DetectionOutputs(["a", "b"], [0.3, 0.6], slope=1.5, shift=-0.2),
}
# Of three images; a detector's has four rows for boxes, of which two are none.
OUTPUTS = {"detection": torch.rand(3, 4, 6)}
OUTPUTS["detection"][..., 5] = torch.tensor([0.0, 1.0, -1.0, -1.0])
OUTPUTS["detection"][:, 2:, :5] = 0


@pytest.mark.parametrize("task", LAYERS)  # others have outputs as large as their images: tests/exporting
def test_layers_give_the_outputs_of_the_prediction(task: str) -> None:
    """And back: with the metrics of exported files the network's outputs are asked for."""
    layer, kind, outputs_32 = LAYERS[task], prediction_class(task), OUTPUTS.get(task, torch.randn(3, 2))
    named = layer.arrays(outputs_32)
    shapes = {name: (3, *shape) for name, shape in kind.output_shapes(layer.class_names).items()}
    for (name, array), (wanted, shape) in zip(named.items(), shapes.items(), strict=True):
        assert name == wanted and all(want in (-1, have) for want, have in zip(shape, array.shape, strict=True))
    assert len(kind.of(named, layer)) == 3
    back_32 = layer.undo(named)
    if task == "classification":
        outputs_32, back_32 = outputs_32.log_softmax(1), back_32.log_softmax(1)
    assert torch.allclose(back_32, outputs_32, atol=1e-4)


def test_predictions_need_no_torch() -> None:
    code = "import sys; from src.tasks.lookup import prediction_class as p; [p(t) for t in sys.argv[1:]]; "
    code += "assert not {'torch', 'lightning'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code, *task_names()], cwd=PROJECT_ROOT, check=True)
