"""Scenes of the handwritten digits that the repository carries: data for tasks that say what is where."""

from dataclasses import dataclass
from typing import Annotated, Unpack

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.boxes import Boxes
from src.data.formats.digit_images import DIGITS_FILE
from src.data.formats.digit_scene import (
    OBJECTS,
    PIXELS,
    SIDES_PX,
    Scene,
    digit_sides,
    draw_scene,
    pools,
    scene_path,
    shared_out,
)
from src.data.instances import Instances
from src.data.masks import GROUND, Mask, Masks, count_pixels
from src.data.module import ImageDataModule
from src.data.outlines import Outlines
from src.data.source import DataArguments
from src.data.table import ImageTable, string_column
from src.data.targets import Classes, Targets
from src.settings.plain_values import LARGEST_PX
from src.settings.rules import at_least

DIGITS = list("0123456789")


class DigitScenesDataModule(ImageDataModule):
    """`scenes` square images of `scene_px` pixels, each with two to six digits of ten classes.

    No digit is in scenes of two splits. Where each pixel has a class, digits are larger.
    """

    def __init__(
        self,
        scenes: Annotated[int, at_least(20)],
        scene_px: Annotated[int, at_least(SIDES_PX[1] + 1, at_most=LARGEST_PX)],
        **settings: Unpack[DataArguments],
    ) -> None:
        super().__init__(**settings)
        self.scenes, self.scene_px = scenes, scene_px

    def scan(self) -> ImageTable:
        kind = PIXELS if self.targets == "masks" else OBJECTS
        drawing = Drawing(pools(self.scenes), self.scene_px, digit_sides(kind, self.scene_px))
        drawn = [drawing.scene(row) for row in range(self.scenes)]
        targets = self.masks(drawing, drawn) if kind == PIXELS else self.boxes(drawn)
        paths = string_column(scene_path(row, kind) for row in range(self.scenes))
        notes: list[str] = []
        found = self.split_plan.split(shared_out(self.scenes), targets, paths, notes)
        return ImageTable(paths, targets, found, read_row=drawing.image, notes=notes)

    def boxes(self, drawn: list[Scene]) -> Boxes:
        counts_N = np.array([len(scene.digits) for scene in drawn])
        values = np.stack([np.cumsum(counts_N) - counts_N, counts_N, *np.full((2, self.scenes), self.scene_px)], axis=1)
        labels_M = digit_classes()[np.concatenate([scene.digits for scene in drawn])]
        labels = self.as_known("data=digit_scenes", labels_M, DIGITS)
        boxes_xyxy = np.concatenate([scene.boxes_xyxy for scene in drawn])
        columns = values, labels.names, boxes_xyxy, labels.values, np.zeros(len(boxes_xyxy), dtype=np.bool_)
        if self.targets != "instances":
            return Boxes(*columns)
        masks = (scene.instances == m + 1 for scene in drawn for m in range(len(scene.digits)))
        return Instances(*columns, Outlines.of_masks(masks))

    def masks(self, drawing: "Drawing", drawn: list[Scene]) -> Targets:
        known: Classes = self.as_known("data=digit_scenes", np.arange(len(DIGITS) + 1), [GROUND, *DIGITS])
        read = SceneMasks(drawing, known.values.astype(np.uint8))
        counts = [count_pixels(read.mask_of(scene), len(known.names)) for scene in drawn]
        rows, sides = np.arange(self.scenes)[:, None], np.full((self.scenes, 2), self.scene_px)
        return Masks(np.concatenate([rows, sides, counts], axis=1), known.names, read)


@dataclass(frozen=True)
class Drawing:
    """How scenes are drawn: of which digits each, `side_px` pixels large, with digits of such sides."""

    pool_of: dict[int, npt.NDArray[np.int64]]
    side_px: int
    sides_px: tuple[int, int]

    def scene(self, row: int) -> Scene:
        return draw_scene(row, self.pool_of[row], self.side_px, self.sides_px)

    def image(self, row: int) -> Image.Image:
        return Image.fromarray(self.scene(row).pixels)


@dataclass(frozen=True)
class SceneMasks:
    """Masks of scenes by row; `ids` uint8 [11]: what the ground and the ten digits count as."""

    drawing: Drawing
    ids: Mask

    def __call__(self, row: int) -> Mask:
        return self.mask_of(self.drawing.scene(row))

    def mask_of(self, scene: Scene) -> Mask:
        ids_of_instances = np.concatenate([self.ids[:1], self.ids[1 + digit_classes()[scene.digits]]])
        return np.asarray(ids_of_instances[scene.instances])


def digit_classes() -> npt.NDArray[np.int64]:
    with np.load(DIGITS_FILE) as file:
        return np.asarray(file["labels"], dtype=np.int64)
