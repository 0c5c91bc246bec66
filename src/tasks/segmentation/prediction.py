"""What a model says about the pixels of an image: a class for each. No torch.

Shapes: K classes, H and W pixels.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.evaluation.prediction import Floats, Prediction, PredictionFacts, finite
from src.reports.drawing import enlarged
from src.reports.drawn_masks import color_of_class, draw_mask, palette_image, with_legend

SHOWN_SHARE = 0.005  # classes of fewer pixels are left out of the words


def column_of(name: str) -> str:
    return f"share:{name}"


@dataclass(frozen=True, eq=False)
class SegmentationPrediction(Prediction):
    """`pixels` int64 [K]: how many are of each class. `mask`: their class ids, uint8 [H, W], and `confidence`: the
    probability of these, float32, 0..1, of each pixel [H, W] or of some; None where only the counts are known.
    """

    needed_columns: ClassVar = ("prediction",)
    compared: ClassVar = "images"
    compared_columns: ClassVar = ("miou", "acc")
    error_words: ClassVar = "1 - the IoU of an image's own pixels, mean of the classes that it shows"
    of_pixels: ClassVar = True
    uses: ClassVar = frozenset({"draw", "masks", "tile_px"})
    no_heat_maps: ClassVar = (
        "There are no heat maps of models that say a class for each pixel: where a class is, their masks say "
        "themselves. python -m src.predict with draw=<dir> draws these over the images."
    )
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
        return ["prediction", "confidence", "error", *(map(column_of, class_names) if wide else ())]

    @classmethod
    def choice(cls, class_names: list[str]) -> str:
        return f"one of {len(class_names)} classes for each pixel"

    @classmethod
    def read(cls, row: Mapping[str, str]) -> Self:
        """Shares that are not there are not known."""
        shares = {key.removeprefix("share:"): float(text) for key, text in row.items() if key.startswith("share:")}
        names = row["prediction"].split(";") if row["prediction"] else []
        shares = shares or dict.fromkeys(names, 1 / max(len(names), 1))
        return cls(np.round(np.array(list(shares.values())) * 1e6).astype(np.int64), list(shares))

    @classmethod
    def compared_answer(cls, row: Mapping[str, str]) -> tuple[str, float]:
        miou, acc = (float(row[name]) for name in cls.compared_columns)
        if not (0 <= miou <= 1 and 0 <= acc <= 1):
            raise ValueError(f"{miou} or {acc} is no share")
        return f"mIoU {miou:.3f}, {acc:.1%} of the pixels right", 1 - miou

    @classmethod
    def mask_labels(cls, class_names: list[str]) -> list[str]:
        return [f"{name}:{','.join(map(str, color_of_class(k)))}::" for k, name in enumerate(class_names)]

    @classmethod
    def palette(cls, class_names: list[str]) -> list[list[int]]:
        return [list(color_of_class(k)) for k in range(len(class_names))]

    def drawn_on(self, image: Image.Image) -> Image.Image:
        """With the classes that are there, the largest first, below."""
        assert self.mask is not None
        larger, factor = enlarged(image)
        drawn = draw_mask(larger, self.mask.repeat(factor, axis=0).repeat(factor, axis=1))
        return with_legend(drawn, [(k, name) for k, name in self.by_share if self.pixels[k]])

    def as_mask(self) -> Image.Image:
        assert self.mask is not None
        return palette_image(self.mask)

    def rows(self) -> list[dict[str, str]]:
        sure = "" if self.confidence is None else f"{float(self.confidence.mean()):.6f}"
        shares = zip(self.class_names, self.numbers.tolist(), strict=True)
        said = {"prediction": self.answer, "confidence": sure}
        return [{**said, **{column_of(name): f"{share:.6f}" for name, share in shares}}]

    def as_json(self, top_k: int | None = None) -> dict[str, Any]:
        """`shares` of the classes that are there, and of whole answers `confidence` and `mask`, a PNG as base64."""
        there = [(name, round(share, 6)) for name, share in self.largest if share]
        answer: dict[str, Any] = {"shares": dict(there[:top_k])}
        if self.confidence is not None:
            answer["confidence"] = finite(round(float(self.confidence.mean()), 6))
        if self.mask is not None:
            stream = io.BytesIO()
            self.as_mask().save(stream, "PNG")
            answer["mask"] = base64.b64encode(stream.getvalue()).decode("ascii")
        return answer

    @property
    def by_share(self) -> list[tuple[int, str]]:
        """Class ids and names, the largest share first."""
        return [(k, self.class_names[k]) for k in np.argsort(-self.numbers, kind="stable").tolist()]

    @property
    def largest(self) -> Sequence[tuple[str, float]]:
        """Classes with their shares, the largest first."""
        return [(name, float(self.numbers[k])) for k, name in self.by_share]

    @property
    def answer(self) -> str:
        return ";".join(name for name, share in self.largest if share >= SHOWN_SHARE)

    @property
    def words(self) -> str:
        return "; ".join(f"{name} {share:.0%}" for name, share in self.largest if share >= SHOWN_SHARE)

    def error(self, label: str) -> float:
        """What the shares say alone: a text of labels has no more (Masks.text)."""
        raise NotImplementedError("the shares of an image's pixels do not say which of them are right")

    def to_explain(self, wanted: int | None) -> list[int]:
        return [int(np.argmax(self.pixels)) if wanted is None else wanted]

    def explained(self, index: int) -> dict[str, str]:
        return {"prediction": self.answer, "explained": self.class_names[index]}
