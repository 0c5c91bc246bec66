"""The sides of a comparison: the runs that each word of `runs=` names, and which of their runs belong together."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.runs.finished_runs import Run, facts, runs_of
from src.settings.errors import ConfigError

Pair = tuple[Run, Run]


@dataclass(frozen=True)
class Side:
    """`text` is what was typed for it."""

    text: str
    runs: list[Run]


def read_sides(given: Sequence[Sequence[str]]) -> list[Side]:
    """A side for each list of `FOLDER` or `FOLDER:key=value,...`, of runs or sweeps. Raises ConfigError."""
    sides = [Side(", ".join(texts), [run for text in texts for run in runs_of(text)]) for texts in given]
    runs = [run for side in sides for run in side.runs]
    if len(runs) < 2:
        raise ConfigError(
            f"runs='{sides[0].text}' is a single run, whose own page is {runs[0].folder}/report/index.html: give two "
            "or more."
        )
    if len(kinds := {run.settings["task.targets"] for run in runs}) > 1:
        raise ConfigError(f"The runs predict different things (task.targets: {', '.join(sorted(kinds))}).")
    return sides


def paired(first: Side, other: Side) -> list[Pair]:
    """Runs with the same seed and fold, in that order. Raises ConfigError if there are none, or if data differ."""
    a, b = by_seed_and_fold(first), by_seed_and_fold(other)
    if not (common := sorted(a.keys() & b.keys())):
        in_a, in_b = (", ".join(named(side[key]) for key in sorted(side)) for side in (a, b))
        raise ConfigError(
            f"No run of '{first.text}' has the seed and fold of a run of '{other.text}': {in_a}; {in_b}. "
            "Repeat both with the same seeds: sweep=seeds."
        )
    pairs = [(a[key], b[key]) for key in common]
    for run, partner in pairs:
        if run.folder.resolve() == partner.folder.resolve():
            raise ConfigError(f"'{run.folder}' is on both sides: a run cannot be compared with itself.")
        if (one := run.environment["data_fingerprint"]) != (two := partner.environment["data_fingerprint"]):
            raise ConfigError(
                f"Not the same data: data_fingerprint in environment.json is {one} in '{run.folder}' and {two} in "
                f"'{partner.folder}'. Images, labels and splits must be the same: see data.split_seed and "
                "data.split_file."
            )
    return pairs


def by_seed_and_fold(side: Side) -> dict[tuple[int, int], Run]:
    """Raises ConfigError for several runs of one seed and fold."""
    runs: dict[tuple[int, int], Run] = {}
    for run in side.runs:
        if (twin := runs.setdefault(run.seed_and_fold, run)) is not run:
            changes = [f"{key}: {', '.join(texts)}" for key, texts in changed_settings([[twin], [run]]).items()]
            raise ConfigError(
                f"'{side.text}' has several runs of {named(run)}: '{twin.folder}' and '{run.folder}' "
                f"({'; '.join(changes) or 'the same settings'}). "
                "Leave one out, or pick a sweep's jobs by their settings: SWEEP:optimizer.lr=1e-3."
            )
    return runs


def named(run: Run) -> str:
    seed, fold = run.seed_and_fold
    return f"seed {seed}" if run.settings.get("data.folds") is None else f"seed {seed} fold {fold}"


def changed_settings(groups: Sequence[Sequence[Run]], also: Sequence[str] = ()) -> dict[str, list[str]]:
    """Dotted key -> its value in each group: settings, commit and versions that are not the same in all runs.

    `also` are keys that are left out elsewhere, such as the seed.
    """
    every = [[facts(run) | {key: str(run.settings.get(key)) for key in also} for run in runs] for runs in groups]
    changes = {}
    for key in dict.fromkeys(key for group in every for one in group for key in one):
        values = [list(dict.fromkeys(one.get(key, "-") for one in group)) for group in every]
        if len({value for group in values for value in group}) > 1:
            changes[key] = [" or ".join(group) for group in values]
    return changes
