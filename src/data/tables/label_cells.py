"""From the label cells of a table to targets: one reader for each way of labelling. Imports no torch."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.folders.split_names import listed, same_text
from src.data.tables.chunks import Cell
from src.data.tables.label_lists import classes_in, find_separator
from src.data.targets import Classes, Kind, Numbers, Tags, Targets
from src.settings.errors import ConfigError
from src.settings.options import tasks_for

TRUTH = {"true": "1", "false": "0", "yes": "1", "no": "0"}


class LabelCells:
    """Takes the label columns `names` chunk by chunk, of `table`, the setting that names it."""

    def __init__(self, table: str, names: list[str]) -> None:
        self.table, self.names = table, names
        self.chunks: list[npt.NDArray[Any]] = []
        self.notes: list[str] = []  # what people should know about how they were read

    def problems(self, columns: list[list[Cell]]) -> Iterator[list[str]]:
        """For each row of a chunk why it cannot be used, or an empty text; a list for each thing that may be wrong."""
        yield from ()

    @abstractmethod
    def add(self, columns: list[list[Cell]]) -> None: ...

    @abstractmethod
    def finish(self, known: list[str] | None) -> Targets:
        """Of all rows. Raises ConfigError for names that a trained model does not know (`known`)."""


def cells_of(kind: Kind, table: str, names: list[str], separator: str | None) -> LabelCells:
    """The reader of the columns `names` of `table`, the setting that names it; `separator`: data.label_separator."""
    if kind == "numbers":
        return NumberColumns(table, names)
    if kind == "tags" and len(names) > 1:
        return ClassColumns(table, names)
    return (TagCells if kind == "tags" else ClassCells)(table, names, separator)


class _NameCells(LabelCells):
    """One column of names. What a cell means shows when all are known: until then it is a code."""

    least_classes = 1

    def __init__(self, table: str, names: list[str], separator: str | None) -> None:
        super().__init__(table, names)
        self.separator = separator
        self.codes: dict[str | tuple[str, ...], int] = {}  # of different cells

    @abstractmethod
    def names_of_cells(self) -> list[list[str]]:
        """The class names in each different cell, in the order of the codes."""

    def add(self, columns: list[list[Cell]]) -> None:
        keys = map(self.key, columns[0])
        self.chunks.append(np.array([self.codes.setdefault(key, len(self.codes)) for key in keys], dtype=np.int64))

    def key(self, cell: Cell) -> str | tuple[str, ...]:
        return cell.strip() if isinstance(cell, str) else tuple(map(str.strip, cell))

    def indices(self, known: list[str] | None) -> tuple[list[str], list[list[int]], npt.NDArray[np.int64]]:
        """The class names, those in each different cell as indices into them, and the cell of each row."""
        cells = self.names_of_cells()
        found = Counter(map(same_text, {name for names in cells for name in names}))
        self.notes += [
            f"{self.table}: {name} is one class, written in {count} ways of Unicode."
            for name, count in sorted(found.items())
            if count > 1
        ]
        if known is not None and (unknown := sorted(set(found) - set(map(same_text, known)))):
            raise ConfigError(f"{self.table} has classes that the model lacks: {listed(unknown)}.")
        class_names = known or sorted(found)
        if len(class_names) < self.least_classes:
            only = f"only one class, '{class_names[0]}'. It takes at least two" if class_names else "no label at all"
            raise ConfigError(f"{self.table}: {only}.")
        index_of = {same_text(name): index for index, name in enumerate(class_names)}
        indices = [[index_of[same_text(name)] for name in names] for names in cells]
        return class_names, indices, np.concatenate(self.chunks)


class ClassCells(_NameCells):
    """One class in each cell."""

    least_classes = 2

    def problems(self, columns: list[list[Cell]]) -> Iterator[list[str]]:
        several = f"several labels, for which {tasks_for('tags')} is"
        keys = map(self.key, columns[0])
        yield [several if isinstance(key, tuple) and len(key) > 1 else "" if key else "no label" for key in keys]

    def names_of_cells(self) -> list[list[str]]:
        return [[key] if isinstance(key, str) else list(key) for key in self.codes]

    def finish(self, known: list[str] | None) -> Classes:
        class_names, indices, cells_N = self.indices(known)
        return Classes(np.array([index for (index,) in indices])[cells_N], class_names)


class TagCells(_NameCells):
    """Any number of classes in each cell, between separators or as a list."""

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


class NumberColumns(LabelCells):
    """One column of numbers for each target."""

    def problems(self, columns: list[list[Cell]]) -> Iterator[list[str]]:
        for name, texts in zip(self.names, self.texts(columns), strict=True):
            yield ["" if is_number(text) else no_number(name, text) for text in texts]

    def add(self, columns: list[list[Cell]]) -> None:
        values_TN = np.array([[float(text) for text in texts] for texts in self.texts(columns)], dtype=np.float32)
        self.chunks.append(np.ascontiguousarray(values_TN.T))

    def texts(self, columns: list[list[Cell]]) -> list[list[str]]:
        return [[str(cell).strip() for cell in column] for column in columns]

    def finish(self, known: list[str] | None) -> Targets:
        return Numbers(*self.values_and_names(known))

    def values_and_names(self, known: list[str] | None) -> tuple[npt.NDArray[np.float32], list[str]]:
        """float32 [N, columns], in the order of the names."""
        names = known or self.names
        place = {same_text(name): place for place, name in enumerate(self.names)}
        if {same_text(name) for name in names} != set(place):
            raise ConfigError(
                f"{self.table} has the label columns {', '.join(self.names)}, and the model knows {', '.join(names)}."
            )
        return np.concatenate(self.chunks)[:, [place[same_text(name)] for name in names]], names


class ClassColumns(NumberColumns):
    """A column of 0 and 1, or of false and true, for each class."""

    def problems(self, columns: list[list[Cell]]) -> Iterator[list[str]]:
        yield from super().problems(columns)
        rows = zip(*([float(text) for text in texts] for texts in self.texts(columns)), strict=True)
        yield ["" if {0.0, 1.0}.issuperset(row) else "a class column is neither 0 nor 1" for row in rows]

    def texts(self, columns: list[list[Cell]]) -> list[list[str]]:
        return [[TRUTH.get(text.lower(), text) for text in texts] for texts in super().texts(columns)]

    def finish(self, known: list[str] | None) -> Targets:
        values_NK, names = self.values_and_names(known)
        return Tags(values_NK.astype(np.uint8), names)


def is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def no_number(name: str, text: str) -> str:
    """Why a cell cannot be used, and with a decimal comma the way out."""
    with_point = text.replace(".", "").replace(",", ".")
    is_comma = text.rfind(",") > text.rfind(".") and is_number(with_point)
    hint = f": numbers are written with a point ({with_point})" if is_comma else ""
    return f"{name}='{text}' is no number{hint}"
