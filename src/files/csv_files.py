"""The csv files that this project writes: no spreadsheet computes what is in them, and they read back as they were.

A spreadsheet takes a cell that begins with = + - @ for a formula, and names of classes and files come from strangers
(OWASP, "CSV Injection"). Such cells get a ' in front, which spreadsheets take for "this is text"; numbers stay numbers.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.files.plain_files import check_size, unreadable

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # the last four are = + - @ of East Asian widths
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
MOST_TABLE, LONGEST_CELL = 2**30, 2**20  # bytes that are read


def as_text(cell: str) -> str:
    """The cell with a ' in front if a spreadsheet would compute it, or if `as_written` would take one of its own."""
    return f"'{cell}" if FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def as_written(cell: str) -> str:
    """What `as_text` was given."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


class CsvWriter:
    """Writes the header at once, then a row at a time: values in the order of the columns, or by column.

    `file` is opened with newline=""; `spreadsheet_safe` False writes cells as they are, formulas too.
    """

    def __init__(self, file: "SupportsWrite[str]", columns: Sequence[str], spreadsheet_safe: bool = True) -> None:
        self.columns, self.safe, self.rows = columns, spreadsheet_safe, csv.writer(file)
        self.write(columns)

    def write(self, row: Sequence[Any] | Mapping[str, Any]) -> None:
        """Columns that a mapping lacks stay empty."""
        cells = [row.get(name, "") for name in self.columns] if isinstance(row, Mapping) else row
        self.rows.writerow([as_text(cell) if self.safe and isinstance(cell, str) else cell for cell in cells])

    def write_all(self, rows: Iterable[Sequence[Any] | Mapping[str, Any]]) -> None:
        for row in rows:
            self.write(row)


def write_csv_file(
    file: Path, columns: Sequence[str], rows: Iterable[Sequence[Any] | Mapping[str, Any]], spreadsheet_safe: bool = True
) -> None:
    """All rows, as by `CsvWriter`; names that are not UTF-8 keep their bytes, as `read_table` takes them."""
    with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as lines:
        CsvWriter(lines, columns, spreadsheet_safe).write_all(rows)


def read_table(file: Path, needed: tuple[str, ...] = ()) -> Iterator[dict[str, str]]:
    """The rows of a csv file by column, as `CsvWriter` was given them, one after the other.

    The file may be somebody else's. Cells that a row lacks are "". Raises ConfigError, which names the file, if it
    cannot be read or lacks a needed column.
    """
    check_size(file, MOST_TABLE)
    csv.field_size_limit(LONGEST_CELL)
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            rows = csv.DictReader(lines, restval="")
            columns = [as_written(name) for name in rows.fieldnames or ()]
            if missing := [name for name in needed if name not in columns]:
                raise unreadable(file, f"it has no column {', '.join(missing)}")
            for row in rows:
                cells = [row[name] for name in rows.fieldnames or ()]
                yield dict(zip(columns, map(as_written, cells), strict=True))
    except (OSError, csv.Error) as error:
        raise unreadable(file, str(error)) from error


def read_csv_file(file: Path) -> list[dict[str, str]]:
    """All rows, as by `read_table`; none if there is no such file."""
    return list(read_table(file)) if file.exists() else []
