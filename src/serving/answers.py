"""From a model's outputs to the answer for an image, as in src/predict.py, as plain data for JSON.

Shapes: N images, K classes, or targets of a regression.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from src.models.preprocessing import Preprocessing

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ModelFacts:
    """What a checkpoint or an exported file says of its model.

    `task` is classification, multilabel or regression; `thresholds` are those of a multilabel model's probabilities;
    `ood_score_p99` is the score that 1 % of the validation images exceeded.
    """

    file: str
    task: str
    class_names: list[str]
    preprocessing: Preprocessing
    backbone: str
    temperature: float = 1.0
    thresholds: list[float] | None = None
    ood_score_p99: float | None = None


@dataclass(frozen=True)
class Outputs:
    """float32 [N, K]: probabilities, or a regression's values; float32 [N] or None: ood_score."""

    values_NK: Floats
    ood_scores_N: Floats | None


def answers(
    facts: ModelFacts, outputs: Outputs, abstain_below: float | None = None, top_k: int | None = None
) -> list[dict[str, Any]]:
    """One answer per image; numbers are rounded as in predictions.csv.

    Classification: prediction (None below `abstain_below`), confidence 0..1, ood_score, probabilities by class.
    Multilabel: prediction (a list), ood_score, probabilities. Regression: values by target. Probabilities are sorted,
    the highest first, and only the first `top_k` are there.
    """
    if facts.task == "regression":
        rows = [[finite(float(f"{value:.6g}")) for value in row] for row in outputs.values_NK.tolist()]
        return [{"values": dict(zip(facts.class_names, row, strict=True))} for row in rows]
    scores = outputs.ood_scores_N.tolist() if outputs.ood_scores_N is not None else [math.nan] * len(outputs.values_NK)
    found = []
    for values_K, score in zip(outputs.values_NK, scores, strict=True):
        order_K = np.argsort(-values_K, kind="stable")
        answer: dict[str, Any] = {}
        if facts.task == "multilabel":
            thresholds_K = np.array(facts.thresholds or [0.5] * len(facts.class_names), dtype=np.float32)
            limits = zip(facts.class_names, values_K, thresholds_K, strict=True)
            answer["prediction"] = [name for name, value, threshold in limits if value >= threshold]
        else:
            confidence = finite(round(float(values_K[order_K[0]]), 6))
            certain = confidence is not None and (abstain_below is None or confidence >= abstain_below)
            answer["prediction"] = facts.class_names[order_K[0]] if certain else None
            answer["confidence"] = confidence
        answer["ood_score"] = finite(round(score, 4))
        answer["probabilities"] = {
            facts.class_names[k]: finite(round(float(values_K[k]), 6)) for k in order_K[:top_k].tolist()
        }
        found.append(answer)
    return found


def finite(number: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return number if math.isfinite(number) else None
