"""Tables of text in the dialects of spreadsheets: which one it is, and what is wrong with it. Imports no torch."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from src.data.tables.chunks import CHUNK, Chunk, TableFile
from src.files.csv_files import as_written
from src.settings.errors import ConfigError

DELIMITERS = ",;\t|"
NO_DELIMITER = "\x1f"  # of a table with one column
MAX_CELL = 1 << 24  # characters; csv's own limit of 131,072 is less than an encoded image in a column beside has


def read_csv(file: Path, setting: str, lines: TextIO) -> TableFile:
    csv.field_size_limit(MAX_CELL)
    quotes = Counter[str]()
    text = without_nul(file, setting, lines, quotes)
    first, skipped = next(text, ""), 0
    while first and (not first.strip() or re.fullmatch(r"sep=(.)\s*", first)):  # empty lines, and Excel's own line
        first, skipped = next(text, ""), skipped + 1
    delimiter = find_delimiter(first)
    # In tables with ", " between the cells, the blank belongs to none of them, and quotes come behind it.
    blank = f"{delimiter} " in first
    reader = csv.reader(chain([first], text), delimiter=delimiter, skipinitialspace=blank)
    columns = [as_written(name.strip().lstrip("\ufeff")) for name in next(reader, [])]
    if not any(columns):
        raise ConfigError(f"{setting}='{file}' is empty: its first line should name the columns.")

    def chunks() -> Iterator[Chunk]:
        chunk, begin = Chunk(), skipped + reader.line_num + 1
        last = (begin, begin)
        for row in reader:
            end = skipped + reader.line_num
            last = (begin, end)
            if any(cell and not cell.isspace() for cell in row):
                if len(row) != len(columns):
                    row = fitted_row(row, len(columns), f"{setting}='{file}'", begin, end)
                chunk.rows.append([as_written(cell) if cell.startswith("'") else cell for cell in row])
                chunk.lines.append(begin)
                if len(chunk) == CHUNK:
                    yield chunk
                    chunk = Chunk()
            begin = end + 1
        if last[1] > last[0] and quotes['"'] % 2:
            raise ConfigError(f"{setting}='{file}': a quote (\") is left open in line {last[0]} or after it.")
        if len(chunk):
            yield chunk

    return TableFile(file, setting, columns, chunks())


def without_nul(file: Path, setting: str, lines: TextIO, counts: Counter[str]) -> Iterator[str]:
    """The lines, of which the quotes are counted. Raises ConfigError for bytes that no text has."""
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise ConfigError(
                f"{setting}='{file}' is no csv file: line {number} has bytes of zero. Save it as csv (UTF-8)."
            )
        counts['"'] += line.count('"')
        yield line


def find_delimiter(header: str) -> str:
    """What stands between the columns' names most often, outside of quotes."""
    counts = {delimiter: len(next(csv.reader([header], delimiter=delimiter), [])) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: counts[delimiter])
    return best if counts[best] > 1 else NO_DELIMITER


def fitted_row(row: list[str], columns: int, table: str, begin: int, end: int) -> list[str]:
    """The row without empty cells beyond the last column. Raises ConfigError if it has too many or too few others."""
    if len(row) > columns and not any(cell.strip() for cell in row[columns:]):
        return row[:columns]
    where = f"line {begin}" if begin == end else f"lines {begin} to {end}"
    hint = ' Is a quote (") left open there?' if begin != end else ""
    if len(row) > columns:
        hint += " Cells with the separator in them need quotes around them."
    shown = " | ".join(row)[:80]
    raise ConfigError(f"{table}: {where} has {len(row)} values, and the header names {columns}: '{shown}'.{hint}")
