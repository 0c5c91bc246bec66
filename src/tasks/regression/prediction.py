"""What a model says about an image with numbers: one number per target. No torch.

Shapes: N images, T targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from src.evaluation.label_errors import FAR, Suspect, deviations
from src.evaluation.prediction import COLUMNS, TOLERANCE, Floats, Outputs, Prediction, PredictionFacts, finite

TAKEN = "predicted:"  # before the name of a target that is called as another column is


def column_of(target: str) -> str:
    """A target may be called as another column is."""
    return f"{TAKEN}{target}" if target in COLUMNS else target


@dataclass(frozen=True, eq=False)
class RegressionPrediction(Prediction):
    """`targets`: their names. `numbers`: float32 [T], in the units of the labels."""

    ood_score = None
    targets: list[str]
    numbers: Floats

    @classmethod
    def of(cls, outputs: Outputs, facts: PredictionFacts) -> list[Self]:
        return [cls(facts.class_names, values_T) for values_T in outputs["values"]]

    @classmethod
    def output_shapes(cls, class_names: list[str]) -> dict[str, tuple[int, ...]]:
        return {"values": (len(class_names),)}

    @classmethod
    def columns(cls, class_names: list[str], wide: bool = True) -> list[str]:
        return [*map(column_of, class_names), "error"]

    @classmethod
    def choice(cls, class_names: list[str]) -> str:
        return f"{len(class_names)} number{'s' if len(class_names) > 1 else ''}"

    @classmethod
    def read(cls, row: Mapping[str, str]) -> Self:
        found = {name: float(text) for name, text in row.items() if name not in COLUMNS}
        return cls(list(found), np.array(list(found.values()), dtype=np.float32))

    def texts(self) -> list[str]:
        return [f"{value:.6g}" for value in self.numbers.tolist()]

    def rows(self) -> list[dict[str, str]]:
        return [dict(zip(map(column_of, self.targets), self.texts(), strict=True))]

    def as_json(self, top_k: int | None = None) -> dict[str, Any]:
        return {"values": {name: finite(float(text)) for name, text in zip(self.targets, self.texts(), strict=True)}}

    @property
    def answer(self) -> str:
        return "; ".join(self.texts())

    @property
    def words(self) -> str:
        return "; ".join(f"{value:.4g}" for value in self.numbers.tolist())

    def error(self, label: str) -> float:
        """The distance from the label, the mean of the targets."""
        pairs = zip(map(float, label.split(";")), self.numbers.tolist(), strict=True)
        return float(np.mean([abs(true - predicted) for true, predicted in pairs]))

    @classmethod
    def numbers_in(cls, row: Mapping[str, str]) -> dict[str, float]:
        own = [name for name in row if name not in COLUMNS]
        return {name.removeprefix(TAKEN): float(row[name]) for name in own}

    @classmethod
    def suspects(
        cls, labels: Sequence[str], names: list[str], numbers_NK: npt.NDArray[np.float64], every: bool
    ) -> list[Suspect]:
        """Those whose error is far from the others' errors; the score is that of the target with the largest."""
        labels_NT = np.array([[float(text) for text in label.split(";")] for label in labels])
        if labels_NT.shape != numbers_NK.shape:
            raise ValueError("not as many numbers as targets")
        far_NT = deviations(labels_NT - numbers_NK)
        largest_N = np.abs(far_NT).max(axis=1)
        chosen = [n for n in np.argsort(-largest_N, kind="stable").tolist() if every or largest_N[n] > FAR]
        texts = [";".join(f"{value:.6g}" for value in numbers_NK[n].tolist()) for n in chosen]
        return [Suspect(n, text, {"deviations": f"{largest_N[n]:.2f}"}) for n, text in zip(chosen, texts, strict=True)]

    def same_as(self, other: Self, unit: Floats) -> bool:
        return bool((np.abs(self.numbers - other.numbers) <= TOLERANCE * unit).all())

    def to_explain(self, wanted: int | None) -> list[int]:
        """The first target, unless another one is wanted."""
        return [wanted or 0]

    def explained(self, index: int) -> dict[str, str]:
        return {"prediction": self.texts()[index], "explained": self.targets[index]}
