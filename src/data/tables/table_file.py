"""The one reader of tables that people bring, csv and parquet. Imports no torch, and pyarrow only for parquet."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from src.data.tables.chunks import CHUNK, Cell, Chunk, TableFile
from src.files.csv_files import as_written
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

DELIMITERS = ",;\t|"
NO_DELIMITER = "\x1f"  # of a table with one column
MAX_CELL = 1 << 24  # characters; csv's own limit of 131,072 is less than an encoded image in a column beside has
TABLE_SUFFIXES = frozenset([".csv", ".tsv", ".txt", ".parquet", ".pq"])
# What lies there instead of a table, by how the file begins.
IMPOSTORS = {
    b"PK\x03\x04": "an Excel file or a zip archive: save it as csv (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel file: save it as csv (UTF-8)",
    b"\x1f\x8b": "compressed: unpack it first",
}
ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@contextmanager
def open_table(file: Path, setting: str) -> Iterator[TableFile]:
    """The table in a file that `setting` names. Raises ConfigError if it cannot be read, now or while it is read."""
    if not file.is_file():
        raise ConfigError(f"{setting}='{file}' {'is a folder' if file.is_dir() else 'does not exist'}.")
    try:
        with file.open("rb") as stream:
            begin = stream.read(4)
        for mark, what in IMPOSTORS.items():
            if begin.startswith(mark):
                raise ConfigError(f"{setting}='{file}' is no table but {what}.")
        if begin == b"PAR1" or file.suffix.lower() in (".parquet", ".pq"):
            yield read_parquet(file, setting)
            return
        encoding = next((name for mark, name in ENCODINGS.items() if begin.startswith(mark)), "utf-8")
        with file.open(newline="", encoding=encoding) as lines:
            yield read_csv(file, setting, lines)
    except OSError as error:
        raise ConfigError(f"{setting}='{file}' cannot be read: {error.strerror or error}.") from error
    except UnicodeError as error:
        raise ConfigError(
            f"{setting}='{file}' is no csv file in UTF-8{wrong_bytes(file)}. Save it as csv (UTF-8)."
        ) from error
    except csv.Error as error:
        raise ConfigError(f"{setting}='{file}' is no csv file in UTF-8: {error}.") from error


def wrong_bytes(file: Path) -> str:
    """Where the first line is that is no UTF-8, for a message."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f": line {number} has the byte 0x{line[error.start]:02x}"
    return ""


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
                if len(chunk.rows) == CHUNK:
                    yield chunk
                    chunk = Chunk()
            begin = end + 1
        if last[1] > last[0] and quotes['"'] % 2:
            raise ConfigError(f"{setting}='{file}': a quote (\") is left open in line {last[0]} or after it.")
        if chunk.rows:
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
    raise ConfigError(
        f"{table}: {where} has {number_of(len(row), 'value')}, and the header names {columns}: '{shown}'.{hint}"
    )


def read_parquet(file: Path, setting: str) -> TableFile:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ConfigError(
            f"{setting}='{file}': parquet needs pyarrow: uv sync --extra parquet, or use a .csv."
        ) from error
    try:
        table = ParquetFile(file)
    except (ArrowException, OSError) as error:
        raise ConfigError(f"{setting}='{file}' is no parquet file: {error}.") from error

    def chunks() -> Iterator[Chunk]:
        first = 1
        try:
            for batch in table.iter_batches(CHUNK):
                values = [[text_of(value) for value in column.to_pylist()] for column in batch.columns]
                rows = [list(row) for row in zip(*values, strict=True)]
                yield Chunk(rows, list(range(first, first + len(rows))))
                first += len(rows)
        except (ArrowException, OSError, UnicodeError) as error:
            raise ConfigError(f"{setting}='{file}' is damaged: {error}.") from error

    return TableFile(file, setting, [name.strip() for name in table.schema_arrow.names], chunks(), unit="row")


def text_of(value: Any) -> Cell:
    """A value of parquet as a csv file would have it; nothing for null and NaN."""
    if value is None or value != value:
        return ""
    if isinstance(value, list):
        return [str(item) for item in value if item is not None]
    if isinstance(value, bool):
        return str(int(value))
    return str(value)
