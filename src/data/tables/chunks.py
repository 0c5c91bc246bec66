"""An open table: its columns, its rows in chunks, and which file a path in it means. Imports no torch.

Cells come as text and as they stand there, but for the ' that this project's own files have before what a spreadsheet
would compute. Whoever uses them strips them.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from src.data.decode import IMAGE_SUFFIXES
from src.data.missing import is_there
from src.settings.errors import ConfigError, did_you_mean

CHUNK = 65536  # rows at a time
TRIED = 20  # paths with \\ that are tried with / instead

Cell = str | list[str]  # a list in parquet's columns of lists


@dataclass
class Chunk:
    """Some rows, each with a cell per column, and in which line of the file (or row, in parquet) each begins."""

    rows: list[list[Cell]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

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
        """Which column has this `name`, which a `setting` may give. Raises ConfigError if not exactly one has it."""
        count, known = self.columns.count(name), [column for column in self.columns if column]
        if count == 1:
            return self.columns.index(name)
        if count:
            raise ConfigError(f"{self.setting}='{self.file}' has {count} columns '{name}': rename all but one.")
        has = f"{', '.join(known)}."
        if any(Path(column).suffix.lower() in IMAGE_SUFFIXES for column in self.columns):
            has += " The first line looks like data, and has to name the columns, e.g. path,label."
        if setting is None:
            raise ConfigError(f"{self.setting}='{self.file}' has no column '{name}', only: {has}")
        hint = did_you_mean(name, known)
        raise ConfigError(f"{setting}='{name}': {self.file} has no such column.{hint} It has: {has}")


class PathCells:
    """Reads the path cells of a table chunk by chunk; `root` is the folder that relative paths start from."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.slashes: bool | None = None  # whether \\ means /; None = there was none yet

    def read(self, cells: Sequence[str]) -> list[str]:
        """Without blanks around them, unless a file is called so, and with / for \\ where the images are there so."""
        paths = [cell if cell == cell.strip() or is_there(self.root / cell) else cell.strip() for cell in cells]
        if windows := [path for path in paths if "\\" in path]:
            if self.slashes is None:
                tried = windows[:TRIED]
                as_they_are = any(is_there(self.root / path) for path in tried)
                self.slashes = not as_they_are and any(is_there(self.root / path.replace("\\", "/")) for path in tried)
            if self.slashes:
                paths = [path.replace("\\", "/") for path in paths]
        return [posixpath.normpath(path) if "//" in path or path.startswith("./") else path for path in paths]
