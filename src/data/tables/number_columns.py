"""Label columns that have numbers in their cells. Imports no torch."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from src.data.folders.split_names import same_text
from src.data.tables.chunks import Cell
from src.data.targets import Numbers, Tags, Targets
from src.settings.errors import ConfigError

TRUTH = {"true": "1", "false": "0", "yes": "1", "no": "0"}


class NumberColumns:
    """One column of numbers for each target."""

    def __init__(self, table: str, names: list[str]) -> None:
        self.table, self.names, self.notes = table, names, list[str]()
        self.chunks: list[npt.NDArray[np.float32]] = []

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
