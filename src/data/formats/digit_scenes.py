"""Scenes of the handwritten digits that the repository carries: data for tasks that say what is where."""

from functools import partial
from typing import Annotated, Unpack

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.boxes import Boxes
from src.data.formats.digit_images import DIGITS_FILE
from src.data.formats.digit_scene import SIDES_PX, draw_scene, pools, scene_path, shared_out
from src.data.module import ImageDataModule
from src.data.source import DataArguments
from src.data.table import ImageTable, string_column
from src.settings.plain_values import LARGEST_PX
from src.settings.rules import at_least


class DigitScenesDataModule(ImageDataModule):
    """`scenes` square images of `scene_px` pixels, each with two to six digits of ten classes.

    No digit is in scenes of two splits.
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
        with np.load(DIGITS_FILE) as file:
            digit_classes = file["labels"].astype(np.int64)
        splits, pool_of = shared_out(self.scenes), pools(self.scenes)
        drawn = [draw_scene(row, pool_of[row], self.scene_px) for row in range(self.scenes)]
        counts_N = np.array([len(scene.digits) for scene in drawn])
        values = np.stack([np.cumsum(counts_N) - counts_N, counts_N, *np.full((2, self.scenes), self.scene_px)], axis=1)
        labels_M = digit_classes[np.concatenate([scene.digits for scene in drawn])]
        labels = self.as_known("data=digit_scenes", labels_M, list("0123456789"))
        boxes_xyxy = np.concatenate([scene.boxes_xyxy for scene in drawn])
        targets = Boxes(values, labels.names, boxes_xyxy, labels.values, np.zeros(len(boxes_xyxy), dtype=np.bool_))
        paths = string_column(map(scene_path, range(self.scenes)))
        notes: list[str] = []
        found = self.split_plan.split(splits, targets, paths, notes)
        read = partial(read_scene, pool_of, self.scene_px)
        return ImageTable(paths, targets, found, read_row=read, notes=notes)


def read_scene(pool_of: dict[int, npt.NDArray[np.int64]], scene_px: int, row: int) -> Image.Image:
    return Image.fromarray(draw_scene(row, pool_of[row], scene_px).pixels)
