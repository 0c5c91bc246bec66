"""Several runs against the first one, or against their partners of the same seed and fold."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.comparing.differences import PairedTable, difference
from src.comparing.images import Answers, Change, answers_file, changed_images, split_for, verdict
from src.comparing.sides import Pair, Side, read_sides
from src.runs.finished_runs import Run
from src.settings.errors import ConfigError

MOST_CHANGES = 12  # runs whose images are compared


@dataclass(frozen=True)
class Comparison:
    """`split` is None and `changes` empty where not all runs predicted the same split."""

    runs: list[Run]
    names: list[str]
    split: str | None
    answers: Answers
    changes: list[Change]
    differences: list[PairedTable]
    notes: list[str]  # why something is not compared

    def name(self, run: Run) -> str:
        return self.names[self.runs.index(run)]

    def gist(self) -> list[str]:
        """A sentence for each run whose images are compared."""
        return [verdict(change, self.name(change.run), self.name(change.before)) for change in self.changes]


def compare_sides(given: Sequence[Sequence[str]], split: str | None, metric: str | None) -> Comparison:
    """Read the runs, for each side the run or sweep directories `given`, and compare the others with the first one.

    `split`: whose predictions are compared; None: test if all runs predicted it, else val. `metric`: key of
    metrics.json that is compared over pairs of the same seed and fold; None: what the runs monitored, and no pairs are
    a note and not an error. Raises ConfigError if a directory is no finished run, or if nothing can be compared.
    """
    sides, answers, notes = read_sides(given), Answers(), list[str]()
    runs = [run for side in sides for run in side.runs]
    differences = []
    for side in sides[1:]:
        try:
            differences.append(difference(sides[0], side, metric, answers))
        except ConfigError as reason:
            if metric is not None:
                raise
            notes.append(f"Not paired: {reason}")
    split = split_for(runs, split)
    if split is None:
        notes.append(
            f"No images are compared: not all runs have report/{answers_file(runs[0], 'test').name} or all "
            f"{answers_file(runs[0], 'val').name}."
        )
        if not differences:
            raise ConfigError(" ".join(notes))
    partners = partners_of(sides)[:MOST_CHANGES]
    changes = [changed_images(answers, before, run, split) for before, run in partners] if split is not None else []
    return Comparison(runs, short_names(runs), split, answers, changes, differences, notes)


def partners_of(sides: Sequence[Side]) -> list[Pair]:
    """Whose images are compared: runs of one seed and fold; where a side has none such, each with the first run."""
    first = sides[0].runs[0]
    if len(sides) == 1:
        return [(first, run) for run in sides[0].runs[1:]]
    found: list[Pair] = []
    for side in sides[1:]:
        partners = {run.seed_and_fold: run for run in reversed(sides[0].runs)}
        pairs = [(partners[run.seed_and_fold], run) for run in side.runs if run.seed_and_fold in partners]
        found += pairs or [(first, run) for run in side.runs]
    return found


def short_names(runs: list[Run]) -> list[str]:
    """The folders' names, longer where two are called alike."""
    names = [run.folder.resolve().name for run in runs]
    return [
        name if names.count(name) == 1 else f"{run.folder.resolve().parent.name}/{name}"
        for run, name in zip(runs, names, strict=True)
    ]
