"""An open table: its columns, and its rows in chunks. Imports no torch.

Cells come as text and as they stand there, but for the ' that this project's own files have before what a spreadsheet
would compute. Whoever uses them strips them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from src.data.decode import IMAGE_SUFFIXES
from src.settings.errors import ConfigError, did_you_mean

CHUNK = 65536  # rows at a time

Cell = str | list[str]  # a list in parquet's columns of lists


@dataclass
class Chunk:
    """Some rows, each with a cell per column, and in which line of the file (or row, in parquet) each begins."""

    rows: list[list[Cell]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, column: int) -> list[str]:
        """The cells of a column, stripped; lists with ; between their items."""
        return [cell.strip() if isinstance(cell, str) else ";".join(cell) for cell in self.cells(column)]

    def cells(self, column: int) -> list[Cell]:
        return [row[column] for row in self.rows]


@dataclass
class TableFile:
    """An open table: names of the columns, stripped, and the rows in chunks. Whatever is wrong raises ConfigError."""

    file: Path
    setting: str  # that named it
    columns: list[str]
    chunks: Iterator[Chunk]
    unit: str = "line"  # what its rows are counted in

    def place(self, name: str, setting: str | None = None) -> int:
        """Which of the columns has this name; raises ConfigError if not exactly one has it.

        `setting` is the one that names the column, if there is one.
        """
        count, known = self.columns.count(name), [column for column in self.columns if column]
        if count > 1:
            raise ConfigError(f"{self.setting}='{self.file}' has {count} columns '{name}': rename all but one.")
        if not count and setting is not None:
            hint = did_you_mean(name, known)
            hint += f" It has: {', '.join(known)}.{self.no_header()}"
            raise ConfigError(f"{setting}='{name}': {self.file} has no such column.{hint}")
        if not count:
            raise ConfigError(
                f"{self.setting}='{self.file}' has no column '{name}', only: {', '.join(known)}.{self.no_header()}"
            )
        return self.columns.index(name)

    def no_header(self) -> str:
        """What to do if the first line names no columns but, as it seems, an image."""
        if not any(Path(column).suffix.lower() in IMAGE_SUFFIXES for column in self.columns):
            return ""
        return " The first line looks like data, and has to name the columns, e.g. path,label."
