"""Pictures listed in a table: a csv or parquet file with a row a picture."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from src.data.base import ImageDataModule
from src.data.image_folder import SPLIT_FOLDERS
from src.data.table import CHUNK, ImageTable, Labels, Rows, string_column
from src.errors import ConfigError, did_you_mean

SPLIT_NAMES = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}


class CsvDataModule(ImageDataModule):
    """One row a picture: its path, what it is labelled with, and, if there are such columns, its split and group.

    Labels are one class; several classes with `;` between them, or one column of 0 and 1 a class; or one column of
    numbers a target. Rows of a million pictures are kept as columns, about 100 bytes each.

    Args:
        file: .csv (comma, semicolon or tab; UTF-8) or .parquet.
        root: folder that relative paths start from; None = the file's own.
        path_column: the picture's path.
        label_columns: one name or several; None = `label` if there is one, else every column that is nothing else.
        split_column: train, val or test (or empty: left out); None, or no such column = cut by fractions.
        group_column: pictures with the same value stay in the same split; None, or no such column = no groups.
        settings: see ImageDataModule.
    """

    def __init__(
        self,
        *,
        file: str,
        root: str | None = None,
        path_column: str = "path",
        label_columns: str | list[str] | None = None,
        split_column: str | None = "split",
        group_column: str | None = "group",
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.file = Path(file).expanduser()
        self.root = self.file.parent if root is None else Path(root).expanduser()
        self.path_column, self.split_column, self.group_column = path_column, split_column, group_column
        self.label_columns = [label_columns] if isinstance(label_columns, str) else label_columns

    def scan(self) -> ImageTable:
        with open_table(self.file) as (columns, chunks):
            wanted = self.wanted_columns(columns)
            builder = ColumnBuilder(self.file, self.labels, self.label_names(wanted), self.known_classes)
            start = 2  # the first line is the header
            for chunk in chunks:
                builder.add({name: [row[i] for row in chunk] for name, i in wanted.items()}, start)
                start += len(chunk)
        paths, labels, class_names, splits, groups_N = builder.finish()
        notes: list[str] = []
        if len(np.unique(paths)) < len(paths):
            notes.append(f"data.file='{self.file}' lists pictures more than once; they may be in two splits.")
        rows = self.split(splits or {"all": np.arange(len(paths))}, labels, paths, notes, groups_N)
        return ImageTable(paths, labels, class_names, rows, root=self.root, groups_N=groups_N, notes=notes)

    def wanted_columns(self, columns: list[str]) -> dict[str, int]:
        """Place in a row of what is read, by our name for it: path, split, group, and `label:<column>`."""
        wanted = {"path": self.place(columns, self.path_column, "data.path_column")}
        own = {self.path_column}
        for key, column in {"split": self.split_column, "group": self.group_column}.items():
            if column in columns:
                wanted[key] = columns.index(column)
                own.add(column)
            elif column is not None and column != key:
                self.place(columns, column, f"data.{key}_column")  # asked for, so it must be there
        names = self.label_columns
        if names is None:
            names = ["label"] if "label" in columns else [column for column in columns if column not in own]
        if not names:
            raise ConfigError(f"data.file='{self.file}' has no column for labels, only: {', '.join(columns)}.")
        if self.labels == "one" and len(names) > 1:
            raise ConfigError(
                f"data.file='{self.file}' has no column 'label', and several others ({', '.join(names)}): name the one "
                "with the classes, data.label_columns=<column>, or choose task=multilabel or task=regression."
            )
        return wanted | {f"label:{name}": self.place(columns, name, "data.label_columns") for name in names}

    def place(self, columns: list[str], name: str, key: str) -> int:
        if name not in columns:
            hint = did_you_mean(name, columns)
            raise ConfigError(f"{key}='{name}': {self.file} has no such column.{hint} It has: {', '.join(columns)}.")
        return columns.index(name)

    def label_names(self, wanted: dict[str, int]) -> list[str]:
        return [name.removeprefix("label:") for name in wanted if name.startswith("label:")]


class ColumnBuilder:
    """Puts chunks of text together to columns of numbers and strings, and says which line is wrong."""

    def __init__(self, file: Path, kind: Labels, label_names: list[str], known_classes: list[str] | None) -> None:
        self.file, self.kind, self.label_names, self.known = file, kind, label_names, known_classes
        self.one_column_a_class = kind == "several" and len(label_names) > 1
        self.codes: dict[str, int] = {name: code for code, name in enumerate(known_classes or [])}
        self.group_codes: dict[str, int] = {}
        self.paths: list[npt.NDArray[Any]] = []
        self.labels: list[npt.NDArray[Any]] = []
        self.splits: list[npt.NDArray[Any]] = []
        self.groups: list[npt.NDArray[Any]] = []
        self.pairs: list[npt.NDArray[np.int64]] = []  # several classes in one column: (row, code)
        self.rows = 0

    def add(self, chunk: dict[str, list[str]], first_line: int) -> None:
        self.paths.append(string_column(chunk["path"]))
        self.refuse(["" if path else "no path" for path in chunk["path"]], first_line)
        if "split" in chunk:
            splits = [SPLIT_NAMES.get(name.strip().lower(), name.strip()) for name in chunk["split"]]
            self.refuse(
                ["" if name in ("train", "val", "test", "") else f"split '{name}' is none of train, val, test"
                 for name in splits], first_line,
            )  # fmt: skip
            self.splits.append(np.array([SPLIT_CODES[name] for name in splits], dtype=np.int8))
        if "group" in chunk:
            codes = [self.group_codes.setdefault(name, len(self.group_codes)) for name in chunk["group"]]
            self.groups.append(np.array(codes, dtype=np.int64))
        columns = [chunk[f"label:{name}"] for name in self.label_names]
        if self.kind == "one":
            self.add_classes(columns[0], first_line)
        elif self.kind == "several" and not self.one_column_a_class:
            self.add_lists_of_classes(columns[0])
        else:
            self.add_numbers(columns, first_line)
        self.rows += len(chunk["path"])

    def add_classes(self, names: list[str], first_line: int) -> None:
        self.refuse(["" if name else "no label" for name in names], first_line)
        self.labels.append(np.array([self.codes.setdefault(name, len(self.codes)) for name in names], dtype=np.int64))

    def add_lists_of_classes(self, texts: list[str]) -> None:
        pairs = [
            (self.rows + i, self.codes.setdefault(name, len(self.codes)))
            for i, text in enumerate(texts)
            for name in map(str.strip, text.split(";"))
            if name
        ]
        self.pairs.append(np.array(pairs, dtype=np.int64).reshape(-1, 2))

    def add_numbers(self, columns: list[list[str]], first_line: int) -> None:
        for name, texts in zip(self.label_names, columns, strict=True):
            self.refuse(["" if is_number(text) else f"{name}='{text}' is no number" for text in texts], first_line)
        values_NT = np.array([[float(text) for text in texts] for texts in columns], dtype=np.float32).T
        if self.one_column_a_class:
            wrong = np.any((values_NT != 0) & (values_NT != 1), axis=1).tolist()
            self.refuse(["a class column is neither 0 nor 1" if bad else "" for bad in wrong], first_line)
            values_NT = values_NT.astype(np.uint8)
        self.labels.append(np.ascontiguousarray(values_NT))

    def refuse(self, problems: Sequence[str], first_line: int) -> None:
        """Raise ConfigError, naming the lines, if one of the problems is not empty."""
        found = [(first_line + i, problem) for i, problem in enumerate(problems) if problem]
        if found:
            lines = "\n".join(f"  line {line}: {problem}" for line, problem in found[:5])
            raise ConfigError(f"data.file='{self.file}' has {len(found)} rows that cannot be used:\n{lines}")

    def finish(
        self,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], list[str], dict[str, Rows], npt.NDArray[np.int64] | None]:
        """paths, labels, class names, rows of the given splits, groups."""
        if not self.rows:
            raise ConfigError(f"data.file='{self.file}' has no rows.")
        class_names, labels = self.finish_labels()
        splits: dict[str, Rows] = {}
        if self.splits:
            codes_N = np.concatenate(self.splits)
            splits = {name: np.flatnonzero(codes_N == code) for name, code in SPLIT_CODES.items() if name}
            splits = {name: rows for name, rows in splits.items() if len(rows)}
            if splits and "train" not in splits:  # other data, to evaluate on
                splits = {"all": np.sort(np.concatenate(list(splits.values())))}
        groups_N = np.concatenate(self.groups) if self.groups else None
        return np.concatenate(self.paths), labels, class_names, splits, groups_N

    def finish_labels(self) -> tuple[list[str], npt.NDArray[Any]]:
        if self.kind == "numbers" or self.one_column_a_class:
            names = self.known or self.label_names
            if sorted(names) != sorted(self.label_names):
                raise ConfigError(
                    f"data.file='{self.file}' has the label columns {', '.join(self.label_names)}, and the model knows "
                    f"{', '.join(names)}."
                )
            return names, np.concatenate(self.labels)[:, [self.label_names.index(name) for name in names]]
        unknown = list(self.codes)[len(self.known) :] if self.known is not None else []
        if unknown:
            shown = ", ".join(unknown[:10])
            raise ConfigError(f"data.file='{self.file}' has classes that the model lacks: {shown}.")
        names = self.known or sorted(self.codes)
        if len(names) < (2 if self.kind == "one" else 1):
            raise ConfigError(f"data.file='{self.file}': only one class, '{names[0]}'. It takes at least two.")
        place_of_code = np.array([names.index(name) for name in self.codes], dtype=np.int64)
        if self.kind == "one":
            return names, place_of_code[np.concatenate(self.labels)]
        pairs = np.concatenate(self.pairs)
        labels_NK = np.zeros((self.rows, len(names)), dtype=np.uint8)
        labels_NK[pairs[:, 0], place_of_code[pairs[:, 1]]] = 1
        return names, labels_NK


SPLIT_CODES = {"": 0, "train": 1, "val": 2, "test": 3}


def is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


# --------------------------------------------------------------------------------------------------------------- files


@contextmanager
def open_table(file: Path) -> Iterator[tuple[list[str], Iterator[list[list[str]]]]]:
    """Names of the columns, and the rows as text, in chunks. Raises ConfigError if the file cannot be read."""
    if not file.is_file():
        raise ConfigError(f"data.file='{file}' does not exist.")
    try:
        if file.suffix.lower() == ".parquet":
            yield read_parquet(file)
        else:
            with file.open(newline="", encoding="utf-8-sig") as lines:
                yield read_csv(file, lines)
    except OSError as error:
        raise ConfigError(f"data.file='{file}' cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"data.file='{file}' is no csv file in UTF-8: {error}.") from error


def read_csv(file: Path, lines: TextIO) -> tuple[list[str], Iterator[list[list[str]]]]:
    header = lines.readline()
    delimiter = max(",;\t", key=header.count)
    lines.seek(0)
    reader = csv.reader(lines, delimiter=delimiter)
    columns = [name.strip().lstrip("\ufeff") for name in next(reader, [])]

    def chunks() -> Iterator[list[list[str]]]:
        while chunk := [row for row in islice(reader, CHUNK) if row]:
            for row in chunk:
                if len(row) != len(columns):
                    raise ConfigError(
                        f"data.file='{file}': the row '{delimiter.join(row)[:80]}' before line {reader.line_num + 1} "
                        f"has {len(row)} values, and the header names {len(columns)}."
                    )
            yield chunk

    return columns, chunks()


def read_parquet(file: Path) -> tuple[list[str], Iterator[list[list[str]]]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ConfigError(
            f"data.file='{file}': parquet needs pyarrow: uv sync --extra parquet, or use a .csv."
        ) from error
    try:
        table = ParquetFile(file)
    except ArrowException as error:
        raise ConfigError(f"data.file='{file}' is no parquet file: {error}.") from error

    def chunks() -> Iterator[list[list[str]]]:
        for batch in table.iter_batches(CHUNK):
            values = [["" if value is None else str(value) for value in column.to_pylist()] for column in batch.columns]
            yield [list(row) for row in zip(*values, strict=True)]

    return list(table.schema_arrow.names), chunks()
