"""Tables that people bring: csv and parquet. The one reader of them.

Imports no torch, and pyarrow only when there is such a table.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.data.tables.chunks import CHUNK, Cell, Chunk, TableFile
from src.data.tables.csv_file import read_csv
from src.settings.errors import ConfigError

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
