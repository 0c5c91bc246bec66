"""Tables of parquet. Imports no torch, and pyarrow only when there is such a table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.data.tables.chunks import CHUNK, Cell, Chunk, TableFile
from src.settings.errors import ConfigError


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
