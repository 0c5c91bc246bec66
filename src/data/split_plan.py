"""Which images are train, val and test: what the data say, what a file says, and what is cut off. Imports no torch."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.folders.split_names import same_text, split_of
from src.data.splits import SPLITS, Groups, cut, fold
from src.data.tables.table_file import open_table
from src.data.targets import Rows, Targets
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

DEFAULT_TEST_FRACTION = 0.15


@dataclass(frozen=True)
class SplitPlan:
    """The settings of the data that decide it, as in conf/data/folder.yaml."""

    val_fraction: float
    test_fraction: float | None
    seed: int
    file: Path | None
    folds: int | None
    fold: int

    def split(
        self,
        given: dict[str, Rows],
        targets: Targets,
        paths: npt.NDArray[Any],
        notes: list[str],
        groups_N: Groups = None,
    ) -> dict[str, Rows]:
        """The splits of the data: what is given (`all`, or train and perhaps val and test), and what is cut from it.

        Without train, as data to evaluate a model on may be, they are as given. What people should know about it is
        added to `notes`.
        """
        if self.file is not None:
            given, said = read_split_file(self.file, paths)
            notes += said
            if "train" not in given:
                raise ConfigError(f"data.split_file='{self.file}' gives no image to train.")
        if "all" not in given and "train" not in given:  # data for a trained model alone
            return dict(given)
        rows = self.cut_off(dict(given), self.share_of_test(given, notes), targets, groups_N)
        if groups_N is not None:
            for one, other in combinations(rows, 2):  # of the data themselves; val and test then look too good
                if shared := len(np.intersect1d(groups_N[rows[one]], groups_N[rows[other]])):
                    notes.append(
                        f"Leak: {number_of(shared, 'group has', 'groups have')} images in both {one} and {other}."
                    )
        return rows

    def share_of_test(self, given: dict[str, Rows], notes: list[str]) -> float:
        """Of the images that are not split yet, 0..1."""
        if self.test_fraction is not None:
            if "test" in given and self.test_fraction:
                notes.append(f"data.test_fraction={self.test_fraction:g} has no effect: the data have a test split.")
            return self.test_fraction
        if "all" in given:
            return DEFAULT_TEST_FRACTION
        if "test" not in given:
            notes.append("There is no test split, so nothing is tested: data.test_fraction=0.15 takes one.")
        return 0.0

    def cut_off(self, rows: dict[str, Rows], test_share: float, targets: Targets, groups_N: Groups) -> dict[str, Rows]:
        """What is given (`rows`, used up here), with the splits that it lacks cut off the images to train on."""

        def parts(pool: Rows, fractions: dict[str, float]) -> dict[str, Rows]:
            fractions = {name: share for name, share in fractions.items() if share and name not in rows}
            groups = None if groups_N is None else groups_N[pool]
            found = cut(targets.strata(pool), fractions, self.seed, groups)
            return {name: pool[where] for name, where in found.items()}

        source = rows.pop("all") if "all" in rows else rows.pop("train")
        if self.folds is None:
            rows |= parts(source, {"val": self.val_fraction, "test": test_share})
        else:
            cut_off = parts(source, {"test": test_share})
            pool = np.sort(np.concatenate([cut_off.pop("train"), rows.pop("val", np.empty(0, dtype=np.int64))]))
            groups = None if groups_N is None else groups_N[pool]
            train, val = fold(targets.take(pool), self.folds, self.fold, self.seed, groups)
            rows |= {**cut_off, "train": pool[train], "val": pool[val]}
        return {name: rows[name] for name in SPLITS if name in rows}


def read_split_file(file: Path, paths: npt.NDArray[Any]) -> tuple[dict[str, Rows], list[str]]:
    """Rows of each split as a table with the columns path and split says, such as a run's split.csv; and notes.

    Raises ConfigError if the file names no split for an image, or two, or splits of other names.
    """
    split_of_path, line_of_path = dict[str, str](), dict[str, int]()
    with open_table(file, "data.split_file") as table:
        if not {"path", "split"} <= set(table.columns):
            raise ConfigError(
                f"data.split_file='{file}' needs the columns path and split, not {', '.join(table.columns)}."
            )
        places = table.place("path"), table.place("split")
        for chunk in table.chunks:
            cells = zip(*(chunk.cells(place) for place in places), chunk.lines, strict=True)
            for path, name, line in ((str(path), str(name).strip(), line) for path, name, line in cells):
                split = split_of(name) if name else ""
                if split is None:
                    raise ConfigError(
                        f"data.split_file='{file}' names the split '{name}' in {table.unit} {line}. Allowed: "
                        f"{', '.join(SPLITS)}, or nothing for images to leave out."
                    )
                if split_of_path.setdefault(path, split) != split:
                    raise ConfigError(
                        f"data.split_file='{file}' has {path} twice, in {table.unit} {line_of_path[path]} for "
                        f"{split_of_path[path] or 'no split'} and in {table.unit} {line} for {split or 'no split'}."
                    )
                line_of_path.setdefault(path, line)
    rows, missing = rows_of_splits(split_of_path, paths)
    if missing:
        raise ConfigError(
            f"data.split_file='{file}' lacks {len(missing)} of {len(paths)} images, e.g. {missing[0]}: give each a "
            "row, with an empty split for those to leave out."
        )
    notes = []
    if over := len(split_of_path) - len(paths):
        notes.append(f"data.split_file='{file}': {over} of its rows are about images that are not there.")
    return rows, notes


def rows_of_splits(split_of_path: dict[str, str], paths: npt.NDArray[Any]) -> tuple[dict[str, Rows], list[str]]:
    """Rows of each split, and the paths that the file lacks.

    Paths that differ in blanks around them, in \\ for /, or in how Unicode writes them, are the same.
    """
    alike: dict[str, str] = {}
    rows: dict[str, list[int]] = {name: [] for name in SPLITS}
    missing = []
    for row, path in enumerate(paths.tolist()):
        split = split_of_path.get(path)
        if split is None:
            alike = alike or {same_path(other): found for other, found in split_of_path.items()}
            split = alike.get(same_path(path))
        if split is None:
            missing.append(path)
        elif split:
            rows[split].append(row)
    return {name: np.array(places, dtype=np.int64) for name, places in rows.items() if places}, missing


def same_path(path: str) -> str:
    return same_text(path.strip().replace("\\", "/").removeprefix("./"))
