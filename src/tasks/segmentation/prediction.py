"""What a model says about the pixels of an image: a class for each. No torch.

Shapes: K classes, H and W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from src.evaluation.prediction import TOLERANCE, Floats, Prediction, PredictionFacts

SHOWN_SHARE = 0.005  # classes of fewer pixels are left out of the words


def column_of(name: str) -> str:
    return f"share:{name}"


@dataclass(frozen=True, eq=False)
class SegmentationPrediction(Prediction):
    """`pixels` int64 [K]: how many are of each class. `mask`: their class ids, uint8 [H, W], and `confidence`: the
    probability of these, float32 [H, W], 0..1; None where only the counts are known.
    """

    ood_score = None
    pixels: npt.NDArray[np.int64]
    class_names: list[str]
    mask: npt.NDArray[np.uint8] | None = None
    confidence: Floats | None = None

    @classmethod
    def of(cls, outputs: Any, facts: PredictionFacts) -> list[Self]:
        """Of `mask` and `confidence` by name, of images of any sizes."""
        found = []
        for mask, confidence in zip(outputs["mask"], outputs["confidence"], strict=True):
            mask_HW = np.asarray(mask, dtype=np.uint8)
            pixels_K = np.bincount(mask_HW.reshape(-1), minlength=len(facts.class_names))
            found.append(cls(pixels_K, facts.class_names, mask_HW, np.asarray(confidence)))
        return found

    @cached_property
    def numbers(self) -> Floats:  # type: ignore[override]
        """Shares of the image's pixels, float32 [K]."""
        return np.asarray(self.pixels / max(int(self.pixels.sum()), 1), dtype=np.float32)

    @classmethod
    def output_shapes(cls, class_names: list[str]) -> dict[str, tuple[int, ...]]:
        return {"mask": (-1, -1), "confidence": (-1, -1)}

    @classmethod
    def columns(cls, class_names: list[str], wide: bool = True) -> list[str]:
        return ["confidence", *(map(column_of, class_names) if wide else ()), "error"]

    @classmethod
    def choice(cls, class_names: list[str]) -> str:
        return f"one of {len(class_names)} classes for each pixel"

    @classmethod
    def read(cls, row: Mapping[str, str]) -> Self:
        shares = {key.removeprefix("share:"): float(text) for key, text in row.items() if key.startswith("share:")}
        return cls(np.round(np.array(list(shares.values())) * 1e6).astype(np.int64), list(shares))

    def rows(self) -> list[dict[str, str]]:
        sure = "" if self.confidence is None else f"{float(self.confidence.mean()):.6f}"
        shares = zip(self.class_names, self.numbers.tolist(), strict=True)
        return [{"confidence": sure, **{column_of(name): f"{share:.6f}" for name, share in shares}}]

    def as_json(self, top_k: int | None = None) -> dict[str, Any]:
        return {"shares": {name: share for name, share in self.largest if share}}

    @property
    def largest(self) -> Sequence[tuple[str, float]]:
        """Classes with their shares, the largest first."""
        order = np.argsort(-self.numbers, kind="stable").tolist()
        return [(self.class_names[k], float(self.numbers[k])) for k in order]

    @property
    def answer(self) -> str:
        return "; ".join(name for name, share in self.largest if share >= SHOWN_SHARE)

    @property
    def words(self) -> str:
        return "; ".join(f"{name} {share:.0%}" for name, share in self.largest if share >= SHOWN_SHARE)

    def error(self, label: str) -> float:
        raise NotImplementedError

    def same_as(self, other: Self, unit: Floats) -> bool:
        return bool((np.abs(self.numbers - other.numbers) <= TOLERANCE).all())

    def to_explain(self, wanted: int | None) -> list[int]:
        return [int(np.argmax(self.pixels)) if wanted is None else wanted]

    def explained(self, index: int) -> dict[str, str]:
        return {"prediction": self.answer, "explained": self.class_names[index]}
