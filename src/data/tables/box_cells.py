"""From the cells of a table to boxes: a row for each, or one without numbers for an image without boxes. No torch.

Shapes: R rows, N images, M boxes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.annotations.raw import RawBoxes
from src.data.splits import SPLITS
from src.data.table import string_column
from src.data.tables.chunks import Cell, TableFile
from src.data.tables.columns import NO_GROUP, SPLIT_CODES, ColumnBuilder, RepeatedRows
from src.data.tables.label_cells import LabelCells, no_number
from src.data.targets import Targets
from src.settings.errors import ConfigError

COLUMNS = (["x1", "y1", "x2", "y2"], ["xmin", "ymin", "xmax", "ymax"])  # that are found without being named
SIZE_COLUMNS = ["width", "height"]


class BoxCells(LabelCells):
    """Four columns of numbers, one of class names, and perhaps the width and height of the images, in this order."""

    def __init__(self, table: str, names: list[str]) -> None:
        super().__init__(table, names)
        self.codes: dict[str, int] = {}  # of class names; -1 without a box
        self.code_chunks: list[npt.NDArray[np.int64]] = []

    def problems(self, columns: list[list[Cell]]) -> Iterator[list[str]]:
        texts = [[str(cell).strip() for cell in column] for column in columns]
        for name, column in zip(self.names, texts, strict=True):
            if name != self.names[4]:
                yield ["" if is_float_or_empty(text) else no_number(name, text) for text in column]
        yield [
            "some numbers of the box are missing" if any(box) and not all(box) else
            f"no class in the column '{self.names[4]}'" if all(box) and not label else ""
            for *box, label in zip(*texts[:5], strict=True)
        ]  # fmt: skip

    def add(self, columns: list[list[Cell]]) -> None:
        numbers = [[str(cell).strip() or "nan" for cell in column] for column in (*columns[:4], *columns[5:])]
        self.chunks.append(np.array(numbers, dtype=np.float64).T)
        # A cell that says nan is of a box that is told as broken; an empty one is of no box.
        labels = [str(cell).strip() if str(x).strip() else "" for x, cell in zip(columns[0], columns[4], strict=True)]
        codes = [self.codes.setdefault(label, len(self.codes)) if label else -1 for label in labels]
        self.code_chunks.append(np.array(codes, dtype=np.int64))

    def finish(self, known: list[str] | None) -> Targets:
        raise NotImplementedError("boxes of several rows belong to an image: see raw_boxes")


def columns_of_boxes(table: TableFile, box_columns: list[str] | None, label_columns: list[str] | None) -> list[str]:
    """Names of the columns for BoxCells. Raises ConfigError if the table has not all of them."""
    label_columns = label_columns or ["label"]
    if len(label_columns) > 1:
        raise ConfigError(
            f"data.label_columns={label_columns} names several columns: the class of a box stands in one."
        )
    if box_columns is None:
        found = next((names for names in COLUMNS if set(names) <= set(table.columns)), None)
        if found is None:
            raise ConfigError(
                f"{table.setting}='{table.file}' has no columns {', '.join(COLUMNS[0])} with boxes, only: "
                f"{', '.join(table.columns)}. Name them: data.box_columns=[left,top,right,bottom]."
            )
        box_columns = found
    elif len(box_columns) != 4:
        raise ConfigError(
            f"data.box_columns={box_columns} names {len(box_columns)} columns. Allowed: four, for left, top, right "
            "and bottom."
        )
    sizes = SIZE_COLUMNS if set(SIZE_COLUMNS) <= set(table.columns) - set(box_columns) else []
    return [*box_columns, *label_columns, *sizes]


def raw_boxes(builder: ColumnBuilder, source: str) -> RawBoxes:
    """All rows that a builder with BoxCells was given, by image. Raises ConfigError if rows of one contradict each
    other.
    """
    builder.require_rows()
    cells = builder.labels
    assert isinstance(cells, BoxCells)
    columns = {name: np.concatenate(chunks) for name, chunks in builder.columns.items()}
    numbers, codes_R = np.concatenate(cells.chunks), np.concatenate(cells.code_chunks)
    repeated = RepeatedRows(builder.table, columns["path"], columns["line"], builder.unit)
    image_R = np.zeros(len(codes_R), dtype=np.int64)
    image_R[repeated.kept] = np.arange(len(repeated.kept))
    image_R[repeated.rows] = image_R[repeated.first]
    boxes = np.argsort(image_R, kind="stable")
    boxes = boxes[codes_R[boxes] >= 0]
    stated = np.nan_to_num(numbers[repeated.kept, 4:6], nan=0, posinf=0, neginf=0).clip(0, 2**31 - 1)
    if numbers.shape[1] < 6:
        stated = np.zeros((len(repeated.kept), 2))
    splits, groups = same_of_image(builder, repeated, columns)
    images = columns["path"][repeated.kept]
    return RawBoxes(
        images, string_column([source] * len(images)), splits, stated.astype(np.int32), image_R[boxes],
        numbers[boxes, :4], codes_R[boxes], np.zeros(len(boxes), dtype=np.bool_), columns["line"][boxes],
        list(cells.codes), "xyxy", False, [], groups=groups,
    )  # fmt: skip


def same_of_image(
    builder: ColumnBuilder, repeated: RepeatedRows, columns: dict[str, npt.NDArray[Any]]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Split and group of each image, text [N]; rows of one image must not contradict each other."""
    splits, groups = string_column([""] * len(repeated.kept)), None
    if "split" in columns:
        repeated.refuse(columns["split"], "splits", {code: f"'{name}'" for name, code in SPLIT_CODES.items()})
        words = np.array(["", *SPLITS], dtype=np.dtypes.StringDType())
        splits = words[columns["split"][repeated.kept]]
    if "group" in columns:
        names = {code: name for name, code in builder.group_codes.items()}
        repeated.complete(columns["group"], NO_GROUP)
        repeated.refuse(columns["group"], "groups", names, NO_GROUP)
        groups = string_column(names[code] for code in columns["group"][repeated.kept].tolist())
    return splits, groups


def is_float_or_empty(text: str) -> bool:
    """Whether a cell is empty or a number; those that are none (NaN) are told with the other boxes."""
    try:
        return not text or isinstance(float(text), float)
    except ValueError:
        return False
