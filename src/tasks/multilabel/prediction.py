"""What a model says about an image with any number of classes: all that reach their thresholds. No torch.

Shapes: N images, K classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from src.evaluation.label_errors import Suspect, wrong_labels
from src.evaluation.prediction import TIE, Floats, Outputs, PredictionFacts
from src.tasks.class_scores import EMPTY, ClassScores


@dataclass(frozen=True, eq=False)
class MultilabelPrediction(ClassScores):
    """`names`: of the classes shown. `thresholds`: float32 [K], from which on a probability makes a class shown."""

    needed_columns: ClassVar = ("prediction",)
    names: list[str]
    thresholds: Floats

    @classmethod
    def of(cls, outputs: Outputs, facts: PredictionFacts) -> list[Self]:
        names, shares_NK = facts.class_names, outputs["probabilities"]
        thresholds_K = np.array(facts.thresholds or [0.5] * len(names), dtype=np.float32)
        scored = zip(shares_NK, outputs["ood_score"].tolist(), (shares_NK >= thresholds_K).tolist(), strict=True)
        return [
            cls(names, shares_K, score, [name for name, on in zip(names, shown, strict=True) if on], thresholds_K)
            for shares_K, score, shown in scored
        ]

    @classmethod
    def choice(cls, class_names: list[str]) -> str:
        return f"any of {len(class_names)} classes"

    @classmethod
    def read(cls, row: Mapping[str, str]) -> Self:
        shown = [name for name in row["prediction"].split(";") if name]
        return cls([], EMPTY, math.nan, shown, EMPTY)

    def answer_row(self) -> dict[str, str]:
        return {"prediction": self.answer}

    def answer_json(self) -> dict[str, Any]:
        return {"prediction": self.names}

    @property
    def answer(self) -> str:
        return ";".join(self.names)

    @property
    def words(self) -> str:
        shares = dict(zip(self.class_names, self.numbers.tolist(), strict=True))
        return "; ".join(f"{name} {shares[name]:.2f}" if name in shares else name for name in self.names) or "nothing"

    def error(self, label: str) -> float:
        """Classes too many or too few."""
        return float(len((set(label.split(";")) ^ set(self.names)) - {""}))

    @classmethod
    def suspects(
        cls, labels: Sequence[str], names: list[str], numbers_NK: npt.NDArray[np.float64], every: bool
    ) -> list[Suspect]:
        """Each class is a question of its own, shown or not; an image counts by the class that fits its label least."""
        shown = [{name for name in label.split(";") if name} for label in labels]
        if unknown := set[str]().union(*shown) - set(names):
            raise ValueError(f"no probability for {min(unknown)}")
        shown_NK = np.array([[name in tags for name in names] for tags in shown], dtype=np.int64)
        wrong_NK = np.zeros(shown_NK.shape, dtype=bool)
        for k in range(len(names)):
            shares_N2 = np.stack([1 - numbers_NK[:, k], numbers_NK[:, k]], axis=1)
            wrong_NK[wrong_labels(shown_NK[:, k], shares_N2, every), k] = True
        of_label_NK = np.where(wrong_NK, np.where(shown_NK, numbers_NK, 1 - numbers_NK), np.inf)
        least_N = of_label_NK.min(axis=1)
        return [
            Suspect(n, ";".join(name for name, on in zip(names, shown_NK[n] ^ wrong_NK[n], strict=True) if on), {
                "label_probability": f"{least_N[n]:.4f}",
                "suggested_probability": f"{1 - least_N[n]:.4f}",
            })
            for n in np.argsort(least_N, kind="stable").tolist() if wrong_NK[n].any()
        ]  # fmt: skip

    def same_as(self, other: Self, unit: Floats) -> bool:
        same_K = (self.numbers >= self.thresholds) == (other.numbers >= self.thresholds)
        return bool((same_K | (np.abs(self.numbers - self.thresholds) < TIE)).all())

    def to_explain(self, wanted: int | None) -> list[int]:
        """The likeliest class if none is shown."""
        shown = [self.class_names.index(name) for name in self.names] or [int(self.numbers.argmax())]
        return shown if wanted is None else [wanted]
