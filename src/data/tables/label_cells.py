"""From the label cells of a table to targets: one reader for each way of labelling. Imports no torch."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from src.data.folders.listing import listed
from src.data.folders.split_names import same_text
from src.data.tables.chunks import Cell
from src.data.tables.label_lists import classes_in, find_separator
from src.data.tables.number_columns import ClassColumns, NumberColumns
from src.data.targets import Classes, Kind, Tags, Targets
from src.settings.errors import ConfigError
from src.settings.options import tasks_for


class LabelCells(Protocol):
    """Takes the label columns chunk by chunk."""

    notes: list[str]  # what people should know about how they were read

    def problems(self, columns: list[list[Cell]]) -> Iterator[list[str]]:
        """For each row why it cannot be used, or an empty text; a list for each thing that may be wrong.

        `columns` are those of a chunk, which `add` takes afterwards.
        """

    def add(self, columns: list[list[Cell]]) -> None: ...

    def finish(self, known: list[str] | None) -> Targets:
        """Of all rows. Raises ConfigError for names that a trained model does not know (`known`)."""


def cells_of(kind: Kind, table: str, names: list[str], separator: str | None) -> LabelCells:
    """The reader of the columns `names` of `table`, the setting that names it; `separator`: data.label_separator."""
    if kind == "numbers":
        return NumberColumns(table, names)
    if kind == "tags" and len(names) > 1:
        return ClassColumns(table, names)
    return TagCells(table, separator) if kind == "tags" else ClassCells(table)


class _NameCells:
    """One column of names. What a cell means shows when all are known: until then it is a code."""

    least_classes = 1

    def __init__(self, table: str) -> None:
        self.table, self.notes = table, list[str]()
        self.codes: dict[Any, int] = {}  # of different cells
        self.chunks: list[npt.NDArray[np.int64]] = []

    @abstractmethod
    def names_of_cells(self) -> list[list[str]]:
        """The class names in each different cell, in the order of the codes."""

    def problems(self, columns: list[list[Cell]]) -> Iterator[list[str]]:
        yield from ()

    def add(self, columns: list[list[Cell]]) -> None:
        keys = map(self.key, columns[0])
        self.chunks.append(np.array([self.codes.setdefault(key, len(self.codes)) for key in keys], dtype=np.int64))

    def key(self, cell: Cell) -> Any:
        return cell.strip() if isinstance(cell, str) else tuple(map(str.strip, cell))

    def indices(self, known: list[str] | None) -> tuple[list[str], list[list[int]], npt.NDArray[np.int64]]:
        """The class names, those in each different cell as indices into them, and the cell of each row."""
        cells = self.names_of_cells()
        self.note_spellings({name for names in cells for name in names})
        found = {same_text(name) for names in cells for name in names}
        if known is not None and (unknown := sorted(found - set(map(same_text, known)))):
            raise ConfigError(f"{self.table} has classes that the model lacks: {listed(unknown)}.")
        class_names = known or sorted(found)
        if len(class_names) < self.least_classes:
            only = f"only one class, '{class_names[0]}'. It takes at least two" if class_names else "no label at all"
            raise ConfigError(f"{self.table}: {only}.")
        index_of = {same_text(name): index for index, name in enumerate(class_names)}
        indices = [[index_of[same_text(name)] for name in names] for names in cells]
        return class_names, indices, np.concatenate(self.chunks)

    def note_spellings(self, names: set[str]) -> None:
        spellings: dict[str, int] = {}
        for name in names:
            spellings[same_text(name)] = spellings.get(same_text(name), 0) + 1
        for name in sorted(name for name, count in spellings.items() if count > 1):
            self.notes.append(f"{self.table}: {name} is one class, written in {spellings[name]} ways of Unicode.")


class ClassCells(_NameCells):
    """One class in each cell."""

    least_classes = 2

    def problems(self, columns: list[list[Cell]]) -> Iterator[list[str]]:
        several = f"several labels, for which {tasks_for('tags')} is"
        keys = map(super().key, columns[0])
        yield [several if isinstance(key, tuple) and len(key) > 1 else "" if key else "no label" for key in keys]

    def key(self, cell: Cell) -> Any:
        return cell.strip() if isinstance(cell, str) else cell[0].strip()

    def names_of_cells(self) -> list[list[str]]:
        return [[name] for name in self.codes]

    def finish(self, known: list[str] | None) -> Classes:
        class_names, indices, cells_N = self.indices(known)
        return Classes(np.array([index for (index,) in indices])[cells_N], class_names)


class TagCells(_NameCells):
    """Any number of classes in each cell, between separators or as a list."""

    def __init__(self, table: str, separator: str | None) -> None:
        super().__init__(table)
        self.separator = separator

    def names_of_cells(self) -> list[list[str]]:
        texts = [key for key in self.codes if isinstance(key, str)]
        separator, note = find_separator(texts, self.separator, self.table)
        self.notes += [note] if note else []
        return [
            classes_in(key, separator) if isinstance(key, str) else [name for name in key if name] for key in self.codes
        ]

    def finish(self, known: list[str] | None) -> Tags:
        class_names, indices, cells_N = self.indices(known)
        values_CK = np.zeros((len(indices), len(class_names)), dtype=np.uint8)
        for code, of_cell in enumerate(indices):
            values_CK[code, of_cell] = 1
        return Tags(values_CK[cells_N], class_names)
