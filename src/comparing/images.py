"""What the best checkpoints of two runs answer to the same images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.evaluation.prediction import Prediction
from src.evaluation.significance import mcnemar_p, p_text, sign_flip_p
from src.files.csv_files import read_table
from src.files.plain_files import unreadable
from src.files.printable import printable
from src.runs.finished_runs import Run
from src.settings.errors import ConfigError
from src.settings.plurals import number_of
from src.tasks.lookup import prediction_class

CLEAR = 0.05  # p below which a difference is called more than chance


@dataclass(frozen=True)
class Answer:
    """What a run says about an image. `error` is 0 for a right answer, else 1 or in a unit of the task's."""

    label: str
    text: str
    error: float


@dataclass(frozen=True)
class Change:
    """A run against an earlier one, on the images that both have predicted with the same label.

    `right_or_wrong`: every answer is either one, so errors are 0 or 1.
    """

    before: Run
    run: Run
    split: str
    images: int
    right_or_wrong: bool
    mean_before: float
    mean_after: float
    p: float
    better: list[str]  # paths, the largest change first
    worse: list[str]


def answers_file(run: Run, split: str) -> Path:
    """With a row per image."""
    return run.folder / "report" / f"{split}_{kind_of(run).compared}.csv"


def kind_of(run: Run) -> type[Prediction]:
    return prediction_class(str(run.settings["task.name"]))


def split_for(runs: Sequence[Run], wanted: str | None) -> str | None:
    """`wanted`, or test if all runs predicted it, else val; None if they did not. Raises ConfigError for `wanted`."""
    for split in (wanted,) if wanted else ("test", "val"):
        without = [run for run in runs if not answers_file(run, split).is_file()]
        if not without:
            return split
        if wanted:
            raise ConfigError(f"split={wanted}: '{without[0].folder}' has no report/{wanted}_predictions.csv.")
    return None


class Answers:
    """What runs say about images, read once for each run and split."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, Answer]] = {}

    def of(self, run: Run, split: str) -> dict[str, Answer]:
        """By path. Raises ConfigError, which names file and row."""
        file = answers_file(run, split)
        if file not in self._read:
            self._read[file] = read_answers(file, kind_of(run))
        return self._read[file]


def read_answers(file: Path, kind: type[Prediction]) -> dict[str, Answer]:
    answers = {}
    columns = kind.needed_columns if kind.compared_columns is None else kind.compared_columns
    for n, row in enumerate(read_table(file, ("path", "label", *columns))):
        try:
            words, error = kind.compared_answer(row)
            answers[row["path"]] = Answer(printable(row["label"]), printable(words), error)
        except ValueError as reason:
            raise unreadable(file, f"row {n + 1} has no number where one is needed, or too few") from reason
    if not answers:
        raise ConfigError(f"'{file}' has no prediction: the network's outputs are not finite. Compare the other runs.")
    return answers


def changed_images(answers: Answers, before: Run, run: Run, split: str) -> Change:
    """Raises ConfigError if the two have no image in common."""
    old, new = answers.of(before, split), answers.of(run, split)
    shared = [path for path in old if path in new and old[path].label == new[path].label]
    if not shared:
        names = {Path(path).name for path in old} & {Path(path).name for path in new}
        hint = ""
        if not old.keys() & new.keys() and names:
            one, other = (next(path for path in side if Path(path).name == min(names)) for side in (old, new))
            hint = f" File names agree, but not their folders, e.g. '{one}' and '{other}': train on the same data.root."
        raise ConfigError(f"'{before.folder}' and '{run.folder}' share no image with the same label.{hint}")
    errors_2N = np.array([[side[path].error for path in shared] for side in (old, new)])
    differences_N = errors_2N[1] - errors_2N[0]
    order = np.argsort(differences_N, kind="stable").tolist()
    better = [shared[n] for n in order if differences_N[n] < 0]
    worse = [shared[n] for n in reversed(order) if differences_N[n] > 0]
    right_or_wrong = bool(np.isin(errors_2N, (0, 1)).all())
    if right_or_wrong:
        p = mcnemar_p(len(worse), len(better))
    else:
        p = sign_flip_p(differences_N.tolist()) if differences_N.any() else 1.0
    means = errors_2N.mean(axis=1).tolist()
    return Change(before, run, split, len(shared), right_or_wrong, means[0], means[1], p, better, worse)


def verdict(change: Change, name: str, name_before: str) -> str:
    """One sentence, with McNemar's exact test for right and wrong, else a permutation test of the errors."""
    where = f"on {number_of(change.images, f'{change.split} image')}"
    if change.right_or_wrong:
        what = (
            f"{name} is right {where} {1 - change.mean_after:.4f} of the time, {name_before} "
            f"{1 - change.mean_before:.4f}: {len(change.better)} turned right, {len(change.worse)} wrong"
        )
    else:
        what = f"{name} errs {where} by {change.mean_after:.4g} on average, {name_before} by {change.mean_before:.4g}"
        what += f", measured as {words}" if (words := kind_of(change.run).error_words) else ""
    chance = "more than chance on these images" if change.p < CLEAR else "which may be chance"
    return f"{what} (p {p_text(change.p)}, {chance})."
