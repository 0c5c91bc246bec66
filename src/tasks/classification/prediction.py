"""What a model says about an image with one class: the likeliest one. No torch.

Shapes: N images, K classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from src.evaluation.label_errors import Suspect, wrong_labels
from src.evaluation.prediction import TIE, Floats, Outputs, PredictionFacts, finite
from src.tasks.class_scores import EMPTY, ClassScores


@dataclass(frozen=True, eq=False)
class ClassificationPrediction(ClassScores):
    """`confidence`: the probability of the likeliest class, 0..1. `name`: of that class; empty if it was too low."""

    needed_columns: ClassVar = ("prediction", "confidence")
    can_abstain: ClassVar = True
    name: str
    confidence: float

    @classmethod
    def of(cls, outputs: Outputs, facts: PredictionFacts) -> list[Self]:
        names, shares_NK = facts.class_names, outputs["probabilities"]
        best_N = shares_NK.argmax(axis=1).tolist()
        scored = zip(shares_NK, outputs["ood_score"].tolist(), best_N, strict=True)
        return [cls(names, shares_K, score, names[k], float(shares_K[k])) for shares_K, score, k in scored]

    @classmethod
    def choice(cls, class_names: list[str]) -> str:
        return f"one of {len(class_names)} classes"

    @classmethod
    def read(cls, row: Mapping[str, str]) -> Self:
        return cls([], EMPTY, math.nan, row["prediction"], float(row["confidence"]))

    def answer_row(self) -> dict[str, str]:
        return {"prediction": self.name, "confidence": f"{self.confidence:.6f}"}

    def answer_json(self) -> dict[str, Any]:
        confidence = finite(round(self.confidence, 6))
        return {"prediction": None if confidence is None else self.name or None, "confidence": confidence}

    @property
    def answer(self) -> str:
        return self.name

    @property
    def words(self) -> str:
        return f"{self.name or 'no answer'} {self.confidence:.3f}"

    def error(self, label: str) -> float:
        return float(self.name != label)

    @classmethod
    def suspects(
        cls, labels: Sequence[str], names: list[str], numbers_NK: npt.NDArray[np.float64], every: bool
    ) -> list[Suspect]:
        index_of = {name: k for k, name in enumerate(names)}
        if unknown := set(labels) - index_of.keys():
            raise ValueError(f"no probability for {min(unknown)}")
        labels_N = np.array([index_of[label] for label in labels], dtype=np.int64)
        return [
            Suspect(n, names[best], {
                "label_probability": f"{numbers_NK[n, labels_N[n]]:.4f}",
                "suggested_probability": f"{numbers_NK[n, best]:.4f}",
            })
            for n in wrong_labels(labels_N, numbers_NK, every).tolist()
            for best in (int(numbers_NK[n].argmax()),)
        ]  # fmt: skip

    @property
    def doubt(self) -> float:
        """1 less the lead of the likeliest class over the next one: margin sampling (Scheffer et al. 2001)."""
        second, best = np.partition(self.numbers, -2)[-2:].tolist() if len(self.numbers) > 1 else (0.0, 1.0)
        return float(1 - (best - second))

    def same_as(self, other: Self, unit: Floats) -> bool:
        return bool(self.numbers[other.numbers.argmax()] >= self.numbers.max() - TIE)

    def to_explain(self, wanted: int | None) -> list[int]:
        return [int(self.numbers.argmax()) if wanted is None else wanted]

    def abstaining(self, below: float | None) -> Self:
        return self if below is None or round(self.confidence, 6) >= below else replace(self, name="")
