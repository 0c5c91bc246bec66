"""Rows of a table that name an image again: put together, or refused where they contradict each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.targets import Rows, Targets
from src.settings.errors import ConfigError
from src.settings.options import tasks_for

SHOWN = 5  # contradictions


def first_rows(paths: npt.NDArray[Any]) -> Rows:
    """For each row the first one with the same path, int64 [N]."""
    _, first, same_N = np.unique(paths, return_index=True, return_inverse=True)
    return first[same_N].astype(np.int64)


class RepeatedRows:
    """The rows whose path an earlier one has, in a table of N rows.

    Args:
        table: the setting that names the table, for messages.
        paths: strings [N].
        lines_N: where each row is in the file.
        unit: what these are: line or row.
    """

    def __init__(self, table: str, paths: npt.NDArray[Any], lines_N: npt.NDArray[np.int64], unit: str) -> None:
        self.table, self.paths, self.lines_N, self.unit = table, paths, lines_N, unit
        first_N = first_rows(paths)
        self.rows = np.flatnonzero(first_N != np.arange(len(paths)))
        self.first = first_N[self.rows]  # of each of them
        self.kept = np.flatnonzero(first_N == np.arange(len(paths)))

    def refuse_targets(self, targets: Targets) -> None:
        """Raise ConfigError, naming the lines, if rows of one image have different targets."""
        way_out = f"An image with several classes is for {tasks_for('tags')}." if targets.kind == "classes" else ""
        self._refuse(targets.differ(self.rows, self.first), targets.kind, targets.text, way_out)

    def refuse(
        self, values_N: npt.NDArray[Any], what: str, name: Callable[[Any], str], missing: int | None = None
    ) -> None:
        """Raise ConfigError, naming the lines, if rows of one image have different values.

        Args:
            values_N: of all rows.
            what: they are, in the plural.
            name: of a value, for messages.
            missing: a value that contradicts none.
        """
        mine, others = values_N[self.rows], values_N[self.first]
        differ = mine != others
        if missing is not None:
            differ &= (mine != missing) & (others != missing)
        self._refuse(differ, what, lambda row: name(values_N[row]))

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
        lines += [way_out] if way_out else []
        shown = "\n".join(lines)
        raise ConfigError(f"{self.table} has {differ.sum()} rows that contradict an earlier one:\n{shown}")

    def unite(self, labels_NK: npt.NDArray[np.uint8]) -> None:
        """Give the first row of each image the classes of its others, in place."""
        np.maximum.at(labels_NK, self.first, labels_NK[self.rows])

    def complete(self, values_N: npt.NDArray[np.int64], missing: int) -> None:
        """Give the first row of each image what a later one has, in place, where it has none."""
        there = (values_N[self.rows] != missing) & (values_N[self.first] == missing)
        # Backwards, so that of several later ones the first one stays.
        values_N[self.first[there][::-1]] = values_N[self.rows[there]][::-1]
