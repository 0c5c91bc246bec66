"""From the cells of a table to columns of numbers and strings. Mistakes are told with their line. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.folders.listing import listed
from src.data.folders.split_names import same_text, split_of
from src.data.table import Labels, Rows, string_column
from src.data.tables.label_lists import classes_in, find_separator
from src.data.tables.paths import PathCells
from src.data.tables.repeated_rows import RepeatedRows
from src.data.tables.table_file import Cell
from src.settings.errors import ConfigError

SPLIT_CODES = {"": 0, "train": 1, "val": 2, "test": 3}
NO_GROUP = -1
SHOWN = 5  # lines with mistakes


@dataclass
class Columns:
    """What a table says, a row per image: see ImageTable."""

    paths: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    class_names: list[str]
    splits: dict[str, Rows]
    groups_N: npt.NDArray[np.int64] | None
    notes: list[str] = field(default_factory=list)


class ColumnBuilder:
    """Takes a table's cells chunk by chunk.

    Args:
        table: the setting that names the table, for messages.
        root: folder that relative paths start from.
        kind: what the images are labelled with.
        label_names: of the label columns.
        known_classes: of a trained model.
        separator: data.label_separator.
        unit: what the rows are counted in: line or row.
    """

    def __init__(
        self,
        table: str,
        root: Path,
        kind: Labels,
        label_names: list[str],
        known_classes: list[str] | None = None,
        separator: str | None = None,
        unit: str = "line",
    ) -> None:
        self.table, self.kind, self.label_names = table, kind, label_names
        self.known, self.separator, self.unit = known_classes, separator, unit
        self.one_column_per_class = kind == "tags" and len(label_names) > 1
        self.codes: dict[str | tuple[str, ...], int] = {}  # of different label cells
        self.group_codes: dict[str, int] = {"": NO_GROUP}
        self.paths: list[npt.NDArray[Any]] = []
        self.labels: list[npt.NDArray[Any]] = []
        self.splits: list[npt.NDArray[Any]] = []
        self.groups: list[npt.NDArray[Any]] = []
        self.lines: list[npt.NDArray[Any]] = []
        self.path_cells = PathCells(root)
        self.notes: list[str] = []

    # ----------------------------------------------------------------------------------------------------------- chunks

    def add(self, chunk: dict[str, list[Cell]], lines: list[int]) -> None:
        """`chunk` has the columns path, perhaps split and group, and `label:<name>`."""
        paths = self.path_cells.read([str(cell) for cell in chunk["path"]])
        self.refuse(["" if path else "no path" for path in paths], lines)
        self.paths.append(string_column(paths))
        self.lines.append(np.array(lines, dtype=np.int64))
        if "split" in chunk:
            self.add_splits([str(cell).strip() for cell in chunk["split"]], lines)
        if "group" in chunk:
            names = [str(cell).strip() for cell in chunk["group"]]
            codes = [self.group_codes.setdefault(name, len(self.group_codes) - 1) for name in names]
            self.groups.append(np.array(codes, dtype=np.int64))
        columns = [chunk[f"label:{name}"] for name in self.label_names]
        if self.kind == "numbers" or self.one_column_per_class:
            self.add_numbers([[str(cell).strip() for cell in column] for column in columns], lines)
        else:
            self.add_classes(columns[0], lines)

    def add_splits(self, names: list[str], lines: list[int]) -> None:
        splits = [split_of(name) if name else "" for name in names]
        self.refuse(
            [
                f"split '{name}' is none of train, val, test (data.split_column=null leaves the column alone)"
                if split is None
                else ""
                for name, split in zip(names, splits, strict=True)
            ],
            lines,
        )
        self.splits.append(np.array([SPLIT_CODES[split or ""] for split in splits], dtype=np.int8))

    def add_classes(self, cells: list[Cell], lines: list[int]) -> None:
        """Codes of the cells: what they mean shows when all are known."""
        keys = [cell.strip() if isinstance(cell, str) else tuple(map(str.strip, cell)) for cell in cells]
        if self.kind == "classes":
            several = [isinstance(key, tuple) and len(key) > 1 for key in keys]
            self.refuse(
                [
                    "several labels, for which task=multilabel is" if many else "" if key else "no label"
                    for many, key in zip(several, keys, strict=True)
                ],
                lines,
            )
            keys = [key if isinstance(key, str) else key[0] for key in keys]
        codes = [self.codes.setdefault(key, len(self.codes)) for key in keys]
        self.labels.append(np.array(codes, dtype=np.int64))

    def add_numbers(self, columns: list[list[str]], lines: list[int]) -> None:
        if self.one_column_per_class:
            columns = [[TRUTH.get(text.lower(), text) for text in texts] for texts in columns]
        for name, texts in zip(self.label_names, columns, strict=True):
            self.refuse(["" if is_number(text) else no_number(name, text) for text in texts], lines)
        values_NT = np.array([[float(text) for text in texts] for texts in columns], dtype=np.float32).T
        if self.one_column_per_class:
            wrong = np.any((values_NT != 0) & (values_NT != 1), axis=1).tolist()
            self.refuse(["a class column is neither 0 nor 1" if bad else "" for bad in wrong], lines)
            values_NT = values_NT.astype(np.uint8)
        self.labels.append(np.ascontiguousarray(values_NT))

    def refuse(self, problems: Sequence[str], lines: Sequence[int]) -> None:
        """Raise ConfigError, naming the lines, if one of the problems is not empty."""
        found = [(line, problem) for line, problem in zip(lines, problems, strict=True) if problem]
        if found:
            shown = "\n".join(f"  {self.unit} {line}: {problem}" for line, problem in found[:SHOWN])
            more = f"\n  ... {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise ConfigError(f"{self.table} has {len(found)} rows that cannot be used:\n{shown}{more}")

    # ----------------------------------------------------------------------------------------------------------- finish

    def finish(self) -> Columns:
        """Raises ConfigError if there are no rows, classes that the model lacks, or rows that contradict each other."""
        if not self.lines:
            raise ConfigError(f"{self.table} has no rows.")
        paths, lines_N = np.concatenate(self.paths), np.concatenate(self.lines)
        if self.path_cells.slashes:
            self.notes.append(f"{self.table}: \\ in paths is read as /, since the images are there.")
        class_names, labels = self.finish_labels()
        codes_N = np.concatenate(self.splits) if self.splits else None
        groups_N = np.concatenate(self.groups) if self.groups else None
        repeated = RepeatedRows(self.table, paths, lines_N, self.unit)
        if len(repeated.rows):
            self.put_together(repeated, labels, class_names, codes_N, groups_N)
            paths, labels = paths[repeated.kept], labels[repeated.kept]
            codes_N = None if codes_N is None else codes_N[repeated.kept]
            groups_N = None if groups_N is None else groups_N[repeated.kept]
        return Columns(paths, labels, class_names, self.given_splits(codes_N), self.whole_groups(groups_N), self.notes)

    def put_together(
        self,
        repeated: RepeatedRows,
        labels: npt.NDArray[Any],
        class_names: list[str],
        codes_N: npt.NDArray[Any] | None,
        groups_N: npt.NDArray[np.int64] | None,
    ) -> None:
        """Give the first row of an image what its other rows say. Raises ConfigError if they contradict each other."""
        count = len(repeated.rows)
        if self.kind == "tags":
            repeated.unite(labels)
            self.notes.append(f"{self.table}: {count} rows name an image again: its classes are put together.")
        else:
            one = self.kind == "classes"
            name = class_names.__getitem__ if one else numbers_text
            repeated.refuse(labels, "classes" if one else "numbers", name)
            self.notes.append(f"{self.table}: {count} rows name an image again, with the same label: left out.")
        if codes_N is not None:
            split_names = {code: f"'{name}'" for name, code in SPLIT_CODES.items()}
            repeated.refuse(codes_N, "splits", lambda code: split_names[code])
        if groups_N is not None:
            group_names = {code: name for name, code in self.group_codes.items()}
            repeated.complete(groups_N, NO_GROUP)
            repeated.refuse(groups_N, "groups", lambda code: group_names[code], NO_GROUP)

    def finish_labels(self) -> tuple[list[str], npt.NDArray[Any]]:
        if self.kind == "numbers" or self.one_column_per_class:
            labels = np.concatenate(self.labels)
            known = self.known or self.label_names
            place = {same_text(name): place for place, name in enumerate(self.label_names)}
            if {same_text(name) for name in known} != set(place):
                raise ConfigError(
                    f"{self.table} has the label columns {', '.join(self.label_names)}, and the model knows "
                    f"{', '.join(known)}."
                )
            return known, labels[:, [place[same_text(name)] for name in known]]
        classes_of_code = self.classes_of_cells()
        self.note_spellings({name for names in classes_of_code for name in names})
        found = {same_text(name) for names in classes_of_code for name in names}
        if self.known is not None and (unknown := sorted(found - set(map(same_text, self.known)))):
            raise ConfigError(f"{self.table} has classes that the model lacks: {listed(unknown)}.")
        class_names = self.known or sorted(found)
        if len(class_names) < (2 if self.kind == "classes" else 1):
            only = f"only one class, '{class_names[0]}'. It takes at least two" if class_names else "no label at all"
            raise ConfigError(f"{self.table}: {only}.")
        index_of = {same_text(name): index for index, name in enumerate(class_names)}
        codes_N = np.concatenate(self.labels)
        if self.kind == "classes":
            return class_names, np.array([index_of[same_text(name)] for (name,) in classes_of_code])[codes_N]
        labels_CK = np.zeros((len(classes_of_code), len(class_names)), dtype=np.uint8)
        for code, names in enumerate(classes_of_code):
            labels_CK[code, [index_of[same_text(name)] for name in names]] = 1
        return class_names, labels_CK[codes_N]

    def classes_of_cells(self) -> list[list[str]]:
        """The class names in each different label cell, in the order of the codes."""
        if self.kind == "classes":
            return [[str(key)] for key in self.codes]
        separator, note = find_separator([k for k in self.codes if isinstance(k, str)], self.separator, self.table)
        self.notes += [note] if note else []
        return [
            classes_in(key, separator) if isinstance(key, str) else [name for name in key if name] for key in self.codes
        ]

    def note_spellings(self, names: set[str]) -> None:
        spellings: dict[str, int] = {}
        for name in names:
            spellings[same_text(name)] = spellings.get(same_text(name), 0) + 1
        for name in sorted(name for name, count in spellings.items() if count > 1):
            self.notes.append(f"{self.table}: {name} is one class, written in {spellings[name]} ways of Unicode.")

    def given_splits(self, codes_N: npt.NDArray[Any] | None) -> dict[str, Rows]:
        if codes_N is None:
            return {}
        splits = {name: np.flatnonzero(codes_N == code) for name, code in SPLIT_CODES.items() if name}
        splits = {name: rows for name, rows in splits.items() if len(rows)}
        if splits and "train" not in splits and self.known is None:
            raise ConfigError(
                f"{self.table} has rows for {' and '.join(splits)} and none for train. data.split_column=null leaves "
                "the column with the splits alone."
            )
        if splits and (left_out := int((codes_N == 0).sum())):
            self.notes.append(f"{self.table}: {left_out} rows have no split: they are left out.")
        return splits

    def whole_groups(self, groups_N: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
        """Rows without a group are a group each."""
        if groups_N is None:
            return None
        alone = np.flatnonzero(groups_N == NO_GROUP)
        if len(alone) == len(groups_N):
            self.notes.append(f"{self.table}: the column with the groups is empty.")
            return None
        if len(alone):
            groups_N[alone] = len(self.group_codes) + np.arange(len(alone))
            self.notes.append(f"{self.table}: {len(alone)} rows have no group: each is a group of its own.")
        return groups_N


TRUTH = {"true": "1", "false": "0", "yes": "1", "no": "0"}


def numbers_text(values_T: npt.NDArray[np.float32]) -> str:
    return ";".join(f"{value:g}" for value in values_T)


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
