"""Images and masks listed in a table, one row per image. Imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.data.mask_files.pairs import Pairs
from src.data.missing import is_there
from src.data.table import string_column
from src.data.tables.box_cells import same_of_image
from src.data.tables.chunks import Cell, PathCells
from src.data.tables.columns import ColumnBuilder, RepeatedRows
from src.data.tables.label_cells import LabelCells
from src.data.tables.table_file import open_table
from src.data.targets import Targets


@dataclass(frozen=True)
class PairColumns:
    """What the columns of a table are called; those for splits and groups may be missing if they have these names."""

    path: str
    mask: str
    split: str | None
    group: str | None


class MaskCells(LabelCells):
    """One column of paths; empty where an image has no mask."""

    def __init__(self, table: str, names: list[str], root: Path) -> None:
        super().__init__(table, names)
        self.path_cells = PathCells(root)

    def problems(self, columns: list[list[Cell]]) -> Iterator[list[str]]:
        yield from ()

    def add(self, columns: list[list[Cell]]) -> None:
        self.chunks.append(string_column(self.path_cells.read([str(cell) for cell in columns[0]])))

    def finish(self, known: list[str] | None) -> Targets:
        raise NotImplementedError("what a mask says stands in its file: see read_pairs")


def read_pairs(file: Path, root: Path, names: PairColumns) -> Pairs:
    """Rows that name an image again are merged. Raises ConfigError if they contradict each other, with their lines."""
    with open_table(file, "data.file") as table:
        place = table.place
        wanted = {
            "path": place(names.path, "data.path_column"),
            f"label:{names.mask}": place(names.mask, "data.mask_column"),
        }
        for key, column in {"split": names.split, "group": names.group}.items():
            # One that was asked for by another name than the usual one must be there.
            if column is not None and (column in table.columns or column != key):
                wanted[key] = place(column, f"data.{key}_column")
        where = f"data.file='{file}'"
        cells = MaskCells(where, [names.mask], root)
        builder = ColumnBuilder(where, root, cells, None, table.unit)
        for chunk in table.chunks:
            builder.add({name: chunk.cells(column) for name, column in wanted.items()}, chunk.lines)
    return pairs_of(builder, cells, root)


def pairs_of(builder: ColumnBuilder, cells: MaskCells, root: Path) -> Pairs:
    builder.require_rows()
    columns = {name: np.concatenate(chunks) for name, chunks in builder.columns.items()}
    masks = np.concatenate(cells.chunks)
    repeated = RepeatedRows(builder.table, columns["path"], columns["line"], builder.unit)
    codes = {text: code for code, text in enumerate(np.unique(masks).tolist())}
    codes_R = np.array([codes[text] for text in masks.tolist()], dtype=np.int64)
    repeated.refuse(codes_R, "masks", {code: text or "(none)" for text, code in codes.items()})
    splits, groups = same_of_image(builder, repeated, columns)
    pairs = Pairs(groups=None if groups is None else [])
    rows = zip(columns["path"][repeated.kept].tolist(), masks[repeated.kept].tolist(), splits.tolist(), strict=True)
    for position, (path, mask, split) in enumerate(rows):
        if not mask or not is_there(root / mask):
            pairs.missing.append((path, f"there is no {mask}" if mask else "the table names none"))
            continue
        pairs.add(path, mask, split)
        if pairs.groups is not None and groups is not None:
            pairs.groups.append(str(groups[position]))
    if builder.path_cells.slashes or cells.path_cells.slashes:
        pairs.notes.append(f"{builder.table}: \\ in paths is read as /, since the files are there.")
    return pairs
