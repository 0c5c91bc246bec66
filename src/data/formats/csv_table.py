"""Images listed in a table: a csv or parquet file with a row per image, or per box."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Unpack

import numpy as np

from src.data.annotations.raw import RawBoxes
from src.data.formats.boxes import BoxDataModule
from src.data.missing import require_found
from src.data.source import DataArguments
from src.data.table import ImageTable
from src.data.tables.box_cells import BoxCells, columns_of_boxes, raw_boxes
from src.data.tables.chunks import TableFile
from src.data.tables.columns import ColumnBuilder
from src.data.tables.label_cells import LabelCells, cells_of
from src.data.tables.table_file import open_table
from src.files.printable import printable
from src.settings.errors import ConfigError
from src.settings.options import tasks_for
from src.settings.rules import one_of
from src.settings.target_kinds import TARGET_KINDS

log = logging.getLogger(__name__)


class CsvDataModule(BoxDataModule):
    """One row per image: its path, what it is labelled with, and, if there are such columns, its split and group.

    Labels are one class; several classes with `;` between them, or one column of 0 and 1 per class; or one column of
    numbers per target. Rows of a million images are kept as columns, about 100 bytes each. Rows that name an image
    again are merged, and refused if they contradict each other. Names of classes are compared in Unicode's NFC. For a
    task with boxes it has a row per box (src/data/tables/box_cells.py), and one with empty cells for an image without.
    conf/data/csv.yaml explains the settings.
    """

    whole_root: ClassVar[bool] = False

    def __init__(
        self,
        *,
        file: str,
        root: str | None = None,
        path_column: str = "path",
        label_columns: str | list[str] | None = None,
        label_separator: str | None = None,
        box_columns: list[str] | None = None,
        without_boxes: Annotated[str, one_of("keep", "drop")] = "keep",
        split_column: str | None = "split",
        group_column: str | None = "group",
        **settings: Unpack[DataArguments],
    ) -> None:
        folder = str(Path(file).parent) if root is None else root
        super().__init__(root=folder, without_boxes=without_boxes, **settings)
        self.file = Path(file).expanduser()
        self.path_column, self.split_column, self.group_column = path_column, split_column, group_column
        self.label_columns = [label_columns] if isinstance(label_columns, str) else label_columns
        self.label_separator, self.box_columns = label_separator, box_columns

    @property
    def reads_objects(self) -> bool:
        return TARGET_KINDS[self.targets].row_per_object

    def scan(self) -> ImageTable:
        if self.reads_objects:
            return super().scan()
        found = self.builder().finish()
        given = found.splits or {"all": np.arange(len(found))}
        splits = self.split_plan.split(given, found.targets, found.paths, found.notes, found.groups_N)
        return replace(found, splits=splits, notes=list(map(printable, found.notes)))

    def read_annotations(self) -> RawBoxes:
        return raw_boxes(self.builder(), str(self.file))

    def builder(self) -> ColumnBuilder:
        """With all of the table's cells."""
        with open_table(self.file, "data.file") as table:
            wanted = self.wanted_columns(table)
            label_names = [name.removeprefix("label:") for name in wanted if name.startswith("label:")]
            name = f"data.file='{self.file}'"
            if self.reads_objects:
                labels: LabelCells = BoxCells(name, label_names)
            else:
                labels = cells_of(self.targets, name, label_names, self.label_separator)
            builder = ColumnBuilder(name, self.root, labels, self.known_classes, table.unit)
            for chunk in table.chunks:
                builder.add({name: chunk.cells(place) for name, place in wanted.items()}, chunk.lines)
        return builder

    def require_found(self) -> None:
        """Raise ConfigError if most images are missing; if some are, the log says where they were looked for."""
        rows = np.sort(np.concatenate(list(self.table.splits.values())))
        if note := require_found(self.root, self.table.paths[rows], f"data.file='{self.file}'", "data.root"):
            log.warning("%s", printable(note))

    def wanted_columns(self, table: TableFile) -> dict[str, int]:
        """Place in a row of what is read, by our name for it: path, split, group, and `label:<column>`."""
        wanted = {"path": table.place(self.path_column, "data.path_column")}
        own = {self.path_column, ""}
        for key, column in {"split": self.split_column, "group": self.group_column}.items():
            # One that was asked for by another name than the usual one must be there.
            if column is not None and (column in table.columns or column != key):
                wanted[key] = table.place(column, f"data.{key}_column")
                own.add(column)
        names = self.label_columns
        if self.reads_objects:
            names = columns_of_boxes(table, self.box_columns, names)
        if names is None:
            names = ["label"] if "label" in table.columns else [name for name in table.columns if name not in own]
        if not names:
            raise ConfigError(f"data.file='{self.file}' has no column for labels, only: {', '.join(table.columns)}.")
        if self.targets == "classes" and len(names) > 1:
            raise ConfigError(
                f"data.file='{self.file}' has no column 'label', and several others ({', '.join(names)}): name the one "
                f"with the classes, data.label_columns=<column>, or choose {tasks_for('tags', 'numbers')}."
            )
        return wanted | {f"label:{name}": table.place(name, "data.label_columns") for name in names}
