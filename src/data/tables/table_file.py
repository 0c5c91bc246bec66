"""Tables that people bring: csv and parquet. The one reader of them. Imports no torch."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.data.tables.chunks import TableFile
from src.data.tables.csv_file import read_csv
from src.data.tables.parquet_file import read_parquet
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
