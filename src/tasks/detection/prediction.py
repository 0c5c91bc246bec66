"""What a detector says about an image: boxes with a class and a score each. No torch.

Shapes: N images, D rows for boxes, M boxes of one image, K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.evaluation.found_objects import FoundObjects
from src.evaluation.prediction import Floats, Outputs, PredictionFacts
from src.reports.drawing import enlarged
from src.reports.drawn_boxes import color_of, draw_boxes
from src.reports.judged_boxes import JudgedBoxes, Kind, draw_judged
from src.settings.plurals import number_of

CORNERS = ("x1", "y1", "x2", "y2")
DRAWN_PX = 320  # longer side of an image with what was predicted
LEAST_PX = 0.01  # side of a box, as torchvision's R-CNNs have it
DEFAULT_THRESHOLD = 0.5  # of a score, where no threshold is known


@dataclass(frozen=True, eq=False)
class DetectionPrediction(FoundObjects):
    """Boxes are in pixels of the upright image."""

    needed_columns: ClassVar = (*CORNERS, "prediction", "score")
    says_where: ClassVar = True
    uses: ClassVar = frozenset({"score_threshold", "draw", "tile_px", "output"})
    nothing_found: ClassVar = "Not one box has a score that suffices: a low score_threshold, such as 0.01, shows more."
    compared: ClassVar = "images"
    compared_columns: ClassVar = ("true", "found", "missed", "false_alarms", "f1")
    error_words: ClassVar = "1 - F1 of an image's boxes at IoU 0.5"
    no_heat_maps: ClassVar = (
        "There are no heat maps of models that find objects: Grad-CAM weighs channels by their mean gradient over the "
        "whole image, which says little about one box. python -m src.predict with draw=<dir> draws the boxes."
    )
    class_names: list[str]
    boxes_xyxy: Floats
    numbers: Floats
    class_ids: npt.NDArray[np.int64]
    ood_score: None = None

    @classmethod
    def of(cls, outputs: Outputs, facts: PredictionFacts) -> list[Self]:
        """Boxes of some size whose score reaches the threshold of their class; rows of the class -1 are none."""
        names = facts.class_names
        thresholds_K = np.array(facts.thresholds or [DEFAULT_THRESHOLD] * len(names), dtype=np.float32)
        found = []
        arrays = zip(outputs["boxes"], outputs["scores"], outputs["labels"], strict=True)
        for image, (boxes_D4, scores_D, labels_D) in enumerate(arrays):
            ids_D = labels_D.astype(np.int64)
            sides_D2 = boxes_D4[:, 2:] - boxes_D4[:, :2]
            kept_D = (ids_D >= 0) & (scores_D >= thresholds_K[ids_D]) & (sides_D2 >= LEAST_PX).all(axis=1)
            more = cls.more_of(outputs, image, kept_D)
            found.append(cls(names, boxes_D4[kept_D], scores_D[kept_D], ids_D[kept_D], **more))
        return found

    @classmethod
    def more_of(cls, outputs: Outputs, image: int, kept_D: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """What a prediction has beside boxes, scores and classes, of those boxes of an image."""
        return {}

    @classmethod
    def output_shapes(cls, class_names: list[str]) -> dict[str, tuple[int, ...]]:
        return {"boxes": (-1, 4), "scores": (-1,), "labels": (-1,)}

    @classmethod
    def named(cls, arrays: Sequence[npt.NDArray[Any]], class_names: list[str]) -> Outputs:
        """A file has no axis of images, and whole numbers as labels."""
        return {name: value[None].astype(np.float32) for name, value in super().named(arrays, class_names).items()}

    @classmethod
    def choice(cls, class_names: list[str]) -> str:
        return f"boxes of {number_of(len(class_names), 'class', 'classes')}"

    @classmethod
    def columns(cls, class_names: list[str], wide: bool = True) -> list[str]:
        return [*cls.needed_columns, "error"]

    @classmethod
    def read(cls, row: Mapping[str, str]) -> Self:
        """One box, or none: a file has a row for each."""
        if not row["prediction"]:
            return cls([], np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
        box = np.array([[float(row[corner]) for corner in CORNERS]], dtype=np.float32)
        return cls([row["prediction"]], box, np.array([float(row["score"])], np.float32), np.zeros(1, np.int64))

    @classmethod
    def compared_answer(cls, row: Mapping[str, str]) -> tuple[str, float]:
        true, found, _, alarms = (int(row[name]) for name in cls.compared_columns[:4])
        if not 0 <= (f1 := float(row["f1"])) <= 1:
            raise ValueError(f"{f1} is no F1")
        return f"found {found} of {true}, false alarms {alarms}", 1 - f1

    @classmethod
    def drawn(cls, image: Image.Image, size_wh: tuple[int, int], rows: Sequence[Mapping[str, str]]) -> Image.Image:
        found = [box for row in rows for box in [cls.read(row)] if len(box)]
        boxes_M4 = np.concatenate([np.empty((0, 4), np.float32), *(box.boxes_xyxy for box in found)])
        kinds: list[Kind] = ["right"] * len(found)  # whichever they are
        judged = JudgedBoxes(boxes_M4, kinds, [box.words for box in found])
        return draw_judged(image, judged, image.width / size_wh[0], DRAWN_PX)

    def drawn_on(self, image: Image.Image) -> Image.Image:
        image, factor = enlarged(image)
        texts = [f"{name} {score:.2f}" for name, score in zip(self.names, self.numbers.tolist(), strict=True)]
        return draw_boxes(image, self.boxes_xyxy * factor, texts, self.colors)

    @property
    def colors(self) -> list[str]:
        """By class."""
        return [color_of(k) for k in self.class_ids.tolist()]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def is_empty(self) -> bool:
        return not len(self)

    def rows(self) -> list[dict[str, str]]:
        """One per box; an image without boxes has one with empty texts."""
        if not len(self):
            return [dict.fromkeys(self.needed_columns, "")]
        boxes = zip(self.boxes_xyxy.tolist(), self.names, self.numbers.tolist(), strict=True)
        return [
            {**{corner: f"{value:.2f}" for corner, value in zip(CORNERS, box, strict=True)}, "prediction": name}
            | {"score": f"{score:.6f}"}
            for box, name, score in boxes
        ]

    def as_json(self, top_k: int | None = None) -> dict[str, Any]:
        boxes = zip(self.boxes_xyxy.tolist(), self.names, self.numbers.tolist(), strict=True)
        found = [
            {"box_xyxy": [round(value, 2) for value in box], "prediction": name, "score": round(score, 6)}
            for box, name, score in boxes
        ]
        return {"boxes": found[:top_k]}

    @property
    def answer(self) -> str:
        """How many of each class: `cat 2, dog 1`."""
        return ", ".join(f"{name} {count}" for name, count in sorted(Counter(self.names).items())) or "nothing"

    @property
    def words(self) -> str:
        return ", ".join(f"{name} {score:.3f}" for name, score in zip(self.names, self.numbers.tolist(), strict=True))

    def error(self, label: str) -> float:
        """By how many objects the numbers of each class are off."""
        true = Counter(
            {name: int(count) for name, _, count in (one.rpartition(" ") for one in label.split(";") if one)}
        )
        found = Counter(self.names)
        return float(sum(abs(true[name] - found[name]) for name in true | found))

    def to_explain(self, wanted: int | None) -> list[int]:
        return []

    def explained(self, index: int) -> dict[str, str]:
        raise NotImplementedError("a box has no heat map")
