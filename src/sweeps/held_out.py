"""What the models of a sweep of folds say about images that they were not trained on."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from src.evaluation.prediction import Prediction
from src.files.csv_files import read_table
from src.files.plain_files import unreadable
from src.runs.finished_runs import Run
from src.settings.errors import ConfigError
from src.tasks.lookup import prediction_class

SPLITS = ("val", "test")


@dataclass(frozen=True)
class HeldOut:
    """N images, each with its label, its split and the mean of what the models say about it [N, K], by `names` [K]."""

    paths: list[str]
    labels: list[str]
    splits: list[str]
    names: list[str]
    numbers_NK: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.paths)


def read_held_out(runs: Sequence[Run]) -> HeldOut:
    """Of val, which is another fold for each run, and of test, which no run was trained on.

    Probabilities are those of the tables, so calibrated by each run's temperature. Raises ConfigError if these runs are
    no folds, answer otherwise than with a number per class or target, or were trained on other labels.
    """
    require_folds(runs)
    labels: dict[str, str] = {}
    splits: dict[str, str] = {}
    sums: dict[str, npt.NDArray[np.float64]] = {}
    counts: dict[str, int] = {}
    names: list[str] = []
    for run, split, file in tables_of(runs):
        for row in read_table(file, ("path", "label")):
            path, said = row["path"], numbers_of(row, kind_of(run), file)
            names = names or list(said)
            if labels.setdefault(path, row["label"]) != row["label"] or list(said) != names:
                raise ConfigError(
                    f"'{path}' has another label or other classes in {file}: the data have changed since."
                )
            if all(map(math.isfinite, said.values())):
                splits.setdefault(path, "folds" if split == "val" else split)
                sums[path] = sums.get(path, 0) + np.array(list(said.values()))
                counts[path] = counts.get(path, 0) + 1
    if not sums:
        raise ConfigError("There is no prediction to look at: the outputs of these networks are not finite.")
    numbers_NK = np.array([sums[path] / counts[path] for path in sums])
    return HeldOut(list(sums), [labels[path] for path in sums], [splits[path] for path in sums], names, numbers_NK)


def kind_of(run: Run) -> type[Prediction]:
    return prediction_class(str(run.settings["task.name"]))


def require_folds(runs: Sequence[Run]) -> None:
    for run in runs:
        if not run.settings.get("data.folds"):
            raise ConfigError(
                f"'{run.folder}' was trained without folds, and what a model says about the images of its training "
                "says little about their labels: python -m src.train sweep=folds <your settings>."
            )


def tables_of(runs: Sequence[Run]) -> Iterator[tuple[Run, str, Path]]:
    for run in runs:
        for split in SPLITS:
            file = run.folder / "report" / f"{split}_predictions.csv"
            if split == "val" or file.is_file():
                yield run, split, file


def numbers_of(row: dict[str, str], kind: type[Prediction], file: Path) -> dict[str, float]:
    try:
        said = kind.numbers_in(row)
    except ValueError as reason:
        raise unreadable(file, "it has no number where one is needed") from reason
    if not said:
        raise ConfigError(
            f"'{file}' has no probability of each class or number of each target: label errors are told of such models "
            "alone."
        )
    return said
