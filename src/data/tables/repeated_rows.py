"""Rows of a table that name an image again: put together, or refused where they contradict each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.targets import Targets
from src.settings.errors import ConfigError
from src.settings.tasks import tasks_for

SHOWN = 5  # contradictions


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
        raise ConfigError(f"{self.table} has {differ.sum()} rows that contradict an earlier one:\n{shown}")

    def complete(self, values_N: npt.NDArray[np.int64], missing: int) -> None:
        """Give the first row of each image what a later one has, in place, where it has none."""
        there = (values_N[self.rows] != missing) & (values_N[self.first] == missing)
        # Backwards, so that of several later ones the first one stays.
        values_N[self.first[there][::-1]] = values_N[self.rows[there]][::-1]
