"""What predictions with a probability per class share. No torch.

Shapes: N images, K classes.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.evaluation.prediction import Floats, Outputs, Prediction, finite

EMPTY: Floats = np.empty(0, dtype=np.float32)
SHARE = "prob:"  # begins the names of the columns with probabilities


@dataclass(frozen=True, eq=False)
class ClassScores(Prediction):
    """`numbers`: probabilities float32 [K], calibrated; empty if read from a file."""

    class_names: list[str]
    numbers: Floats
    ood_score: float

    @classmethod
    def output_shapes(cls, class_names: list[str]) -> dict[str, tuple[int, ...]]:
        return {"probabilities": (len(class_names),), "ood_score": ()}

    @classmethod
    def columns(cls, class_names: list[str], wide: bool = True) -> list[str]:
        shares = [f"{SHARE}{name}" for name in class_names] if wide else []
        return [*cls.needed_columns, "ood_score", "error", *shares]

    @classmethod
    def read_outputs(cls, rows: Sequence[Mapping[str, str]], class_names: list[str]) -> Outputs | None:
        """None if they have no column for one of the classes."""
        columns = [f"{SHARE}{name}" for name in class_names]
        if not rows or any(name not in rows[0] for name in columns):
            return None
        shares_NK = np.array([[float(row[name]) for name in columns] for row in rows], dtype=np.float32)
        scores_N = np.array([float(row["ood_score"]) for row in rows], dtype=np.float32)
        return {"probabilities": shares_NK, "ood_score": scores_N}

    @classmethod
    def numbers_in(cls, row: Mapping[str, str]) -> dict[str, float]:
        return {name.removeprefix(SHARE): float(text) for name, text in row.items() if name.startswith(SHARE)}

    @abstractmethod
    def answer_row(self) -> dict[str, str]:
        """The texts of `needed_columns`."""

    @abstractmethod
    def answer_json(self) -> dict[str, Any]: ...

    def rows(self) -> list[dict[str, str]]:
        shares = {f"{SHARE}{name}": f"{p:.6f}" for name, p in zip(self.class_names, self.numbers.tolist(), strict=True)}
        return [{**self.answer_row(), "ood_score": f"{self.ood_score:.4f}", **shares}]

    def as_json(self, top_k: int | None = None) -> dict[str, Any]:
        """Probabilities are sorted, the highest first."""
        order = np.argsort(-self.numbers, kind="stable")[:top_k].tolist()
        shares = {self.class_names[k]: finite(round(float(self.numbers[k]), 6)) for k in order}
        return {**self.answer_json(), "ood_score": finite(round(self.ood_score, 4)), "probabilities": shares}

    def explained(self, index: int) -> dict[str, str]:
        share = f"{self.numbers[index]:.6f}"
        return {**self.answer_row(), "explained": self.class_names[index], "explained_probability": share}
