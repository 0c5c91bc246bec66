"""Splits as a table says, such as a run's split.csv. Imports no torch."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.folders.split_names import same_text, split_of
from src.data.splits import SPLITS
from src.data.tables.table_file import open_table
from src.data.targets import Rows
from src.settings.errors import ConfigError


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
