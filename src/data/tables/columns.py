"""From the cells of a table to columns of numbers and strings. Mistakes are told with their line. Imports no torch."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.folders.split_names import split_of
from src.data.table import ImageTable, string_column
from src.data.tables.chunks import Cell, PathCells
from src.data.tables.label_cells import LabelCells
from src.data.targets import Rows, Tags, Targets
from src.settings.errors import ConfigError
from src.settings.options import tasks_for
from src.settings.plurals import number_of

SPLIT_CODES = {"": 0, "train": 1, "val": 2, "test": 3}
NO_GROUP = -1
SHOWN = 5  # lines with mistakes, or contradictions


class RepeatedRows:
    """The `rows` whose path an earlier one has, the `first` one of each, and the rows `kept`, in a table of N rows."""

    def __init__(self, table: str, paths: npt.NDArray[Any], lines_N: npt.NDArray[np.int64], unit: str) -> None:
        self.table, self.paths, self.lines_N, self.unit = table, paths, lines_N, unit
        _, first, same_N = np.unique(paths, return_index=True, return_inverse=True)
        first_N = first[same_N]  # for each row the first one with the same path
        self.rows = np.flatnonzero(first_N != np.arange(len(paths)))
        self.first = first_N[self.rows]
        self.kept = np.flatnonzero(first_N == np.arange(len(paths)))

    def refuse_targets(self, targets: Targets) -> None:
        """Raise ConfigError, naming the lines, if rows of one image have different targets."""
        way_out = f"An image with several classes is for {tasks_for('tags')}." if targets.kind == "classes" else ""
        self._refuse(targets.differ(self.rows, self.first), targets.kind, targets.text, way_out)

    def refuse(self, values_N: npt.NDArray[Any], what: str, names: dict[int, str], missing: int | None = None) -> None:
        """Raise ConfigError, naming the lines, if rows of one image have different values (of all rows; `names` by
        value). `what` they are is said in the plural; `missing` is a value that contradicts none.
        """
        mine, others = values_N[self.rows], values_N[self.first]
        differ = mine != others
        if missing is not None:
            differ &= (mine != missing) & (others != missing)
        self._refuse(differ, what, lambda row: names[int(values_N[row])])

    def _refuse(self, differ: npt.NDArray[np.bool_], what: str, text: Callable[[int], str], way_out: str = "") -> None:
        if not differ.any():
            return
        lines = [
            f"  {self.unit}s {self.lines_N[first]} and {self.lines_N[row]}: {self.paths[row]} has the {what} "
            f"{text(first)} and {text(row)}"
            for row, first in list(zip(self.rows[differ], self.first[differ], strict=True))[:SHOWN]
        ]
        if differ.sum() > SHOWN:
            lines.append(f"  ... {differ.sum() - SHOWN} more")
        shown = "\n".join([*lines, way_out] if way_out else lines)
        which = number_of(int(differ.sum()), "row that contradicts", "rows that contradict")
        raise ConfigError(f"{self.table} has {which} an earlier one:\n{shown}")

    def complete(self, values_N: npt.NDArray[np.int64], missing: int) -> None:
        """Give the first row of each image what a later one has, in place, where it has none."""
        there = (values_N[self.rows] != missing) & (values_N[self.first] == missing)
        # Backwards, so that of several later ones the first one stays.
        values_N[self.first[there][::-1]] = values_N[self.rows[there]][::-1]


class ColumnBuilder:
    """Takes a table's cells chunk by chunk. In messages, `table` is the setting that names it, `unit` line or row."""

    def __init__(self, table: str, root: Path, labels: LabelCells, known_classes: list[str] | None, unit: str) -> None:
        self.table, self.labels, self.known, self.unit = table, labels, known_classes, unit
        self.group_codes: dict[str, int] = {"": NO_GROUP}
        self.columns: dict[str, list[npt.NDArray[Any]]] = defaultdict(list)  # path, line, split, group, by chunks
        self.path_cells = PathCells(root)
        self.notes: list[str] = []

    def add(self, chunk: dict[str, list[Cell]], lines: list[int]) -> None:
        """`chunk` has the columns path, perhaps split and group, and `label:<name>`."""
        paths = self.path_cells.read([str(cell) for cell in chunk["path"]])
        self.refuse(["" if path else "no path" for path in paths], lines)
        self.columns["path"].append(string_column(paths))
        self.columns["line"].append(np.array(lines, dtype=np.int64))
        if "split" in chunk:
            self.add_splits([str(cell).strip() for cell in chunk["split"]], lines)
        if "group" in chunk:
            names = [str(cell).strip() for cell in chunk["group"]]
            codes = [self.group_codes.setdefault(name, len(self.group_codes) - 1) for name in names]
            self.columns["group"].append(np.array(codes, dtype=np.int64))
        columns = [chunk[f"label:{name}"] for name in self.labels.names]
        for problems in self.labels.problems(columns):
            self.refuse(problems, lines)
        self.labels.add(columns)

    def add_splits(self, names: list[str], lines: list[int]) -> None:
        splits = [split_of(name) if name else "" for name in names]
        why = "is none of train, val, test (data.split_column=null leaves the column alone)"
        named = zip(names, splits, strict=True)
        self.refuse([f"split '{name}' {why}" if split is None else "" for name, split in named], lines)
        self.columns["split"].append(np.array([SPLIT_CODES[split or ""] for split in splits], dtype=np.int8))

    def refuse(self, problems: Sequence[str], lines: Sequence[int]) -> None:
        """Raise ConfigError, naming the lines, if one of the problems is not empty."""
        found = [(line, problem) for line, problem in zip(lines, problems, strict=True) if problem]
        if found:
            shown = "\n".join(f"  {self.unit} {line}: {problem}" for line, problem in found[:SHOWN])
            more = f"\n  ... {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise ConfigError(f"{self.table} has {number_of(len(found), 'row')} that cannot be used:\n{shown}{more}")

    def require_rows(self) -> None:
        if not self.columns:
            raise ConfigError(f"{self.table} has no rows.")

    def finish(self) -> ImageTable:
        """Raises ConfigError if there are no rows, classes that the model lacks, or rows that contradict each other."""
        self.require_rows()
        columns = {name: np.concatenate(chunks) for name, chunks in self.columns.items()}
        if self.path_cells.slashes:
            self.notes.append(f"{self.table}: \\ in paths is read as /, since the images are there.")
        targets = self.labels.finish(self.known)
        self.notes += self.labels.notes
        repeated = RepeatedRows(self.table, columns["path"], columns["line"], self.unit)
        if len(repeated.rows):
            self.put_together(repeated, targets, columns)
            targets = targets.take(repeated.kept)
            columns = {name: values[repeated.kept] for name, values in columns.items()}
        splits = self.given_splits(columns["split"]) if "split" in columns else {}
        groups_N = self.whole_groups(columns["group"]) if "group" in columns else None
        return ImageTable(columns["path"], targets, splits, self.path_cells.root, groups_N=groups_N, notes=self.notes)

    def put_together(self, repeated: RepeatedRows, targets: Targets, columns: dict[str, npt.NDArray[Any]]) -> None:
        """Give the first row of an image what its other rows say. Raises ConfigError if they contradict each other."""
        count = len(repeated.rows)
        if isinstance(targets, Tags):
            np.maximum.at(targets.values, repeated.first, targets.values[repeated.rows])
            which = number_of(count, "row names", "rows name")
            self.notes.append(f"{self.table}: {which} an image again: its classes are put together.")
        else:
            repeated.refuse_targets(targets)
            which = number_of(count, "row names", "rows name")
            self.notes.append(f"{self.table}: {which} an image again, with the same label: left out.")
        if "split" in columns:
            split_names = {code: f"'{name}'" for name, code in SPLIT_CODES.items()}
            repeated.refuse(columns["split"], "splits", split_names)
        if "group" in columns:
            repeated.complete(columns["group"], NO_GROUP)
            group_names = {code: name for name, code in self.group_codes.items()}
            repeated.refuse(columns["group"], "groups", group_names, NO_GROUP)

    def given_splits(self, codes_N: npt.NDArray[Any]) -> dict[str, Rows]:
        splits = {name: np.flatnonzero(codes_N == code) for name, code in SPLIT_CODES.items() if name}
        splits = {name: rows for name, rows in splits.items() if len(rows)}
        if splits and "train" not in splits and self.known is None:
            raise ConfigError(
                f"{self.table} has rows for {' and '.join(splits)} and none for train. data.split_column=null leaves "
                "the column with the splits alone."
            )
        if splits and (left_out := int((codes_N == 0).sum())):
            self.notes.append(f"{self.table}: {number_of(left_out, 'row has', 'rows have')} no split: left out.")
        return splits

    def whole_groups(self, groups_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        """Rows without a group are a group each."""
        alone = np.flatnonzero(groups_N == NO_GROUP)
        if len(alone) == len(groups_N):
            self.notes.append(f"{self.table}: the column with the groups is empty.")
            return None
        if len(alone):
            groups_N[alone] = len(self.group_codes) + np.arange(len(alone))
            self.notes.append(
                f"{self.table}: {number_of(len(alone), 'row has', 'rows have')} no group: each is a group of its own."
            )
        return groups_N
