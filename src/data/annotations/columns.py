"""Columns that grow image by image and box by box, for formats with a file per image. Imports no torch."""

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from src.data.annotations.outline_columns import OutlineColumns
from src.data.annotations.raw import RawBoxes
from src.data.table import string_column


class ColumnsOfBoxes:
    """What a reader has found so far; see RawBoxes. Boxes are added after their image, so `image_M` is ascending.

    `outlines`: whether they are wanted.
    """

    def __init__(self, outlines: bool = False) -> None:
        self.images, self.sources, self.splits = list[str](), list[str](), list[str]()
        self.sizes = array("l")
        self.image_M, self.class_M, self.number_M = array("q"), array("q"), array("q")
        self.coordinates, self.crowd_M = array("d"), array("b")
        self.outlines = OutlineColumns() if outlines else None

    def add_image(self, name: str, source: str, split: str, size_wh: tuple[int, int] = (0, 0)) -> None:
        self.images.append(name)
        self.sources.append(source)
        self.splits.append(split)
        self.sizes.extend(size_wh)

    def add_box(
        self,
        box: tuple[float, ...],
        class_id: int,
        number: int,
        crowd: bool = False,
        polygons: Sequence[Sequence[float]] = (),
    ) -> None:
        """One of the image that was added last; `box` are its four numbers."""
        if self.outlines is not None:
            self.outlines.add_polygons(polygons)
        self.image_M.append(len(self.images) - 1)
        self.coordinates.extend(box)
        self.class_M.append(class_id)
        self.number_M.append(number)
        self.crowd_M.append(crowd)

    def finish(
        self,
        class_names: list[str],
        form: Literal["xyxy", "xywh", "cxcywh"],
        relative: bool,
        folders: list[Path],
        notes: list[str],
    ) -> RawBoxes:
        return RawBoxes(
            images=string_column(self.images),
            sources=string_column(self.sources),
            splits=string_column(self.splits),
            stated_wh=np.array(self.sizes, dtype=np.int32).reshape(-1, 2),
            image_M=np.array(self.image_M, dtype=np.int64),
            coordinates=np.array(self.coordinates, dtype=np.float64).reshape(-1, 4),
            class_M=np.array(self.class_M, dtype=np.int64),
            crowd_M=np.array(self.crowd_M, dtype=np.bool_),
            number_M=np.array(self.number_M, dtype=np.int64),
            class_names=class_names,
            form=form,
            relative=relative,
            folders=folders,
            notes=notes,
            outlines=None if self.outlines is None else self.outlines.finish(),
        )
