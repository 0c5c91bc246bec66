"""Is B better than A, or is it chance? Runs of two settings, paired by seed and fold.

uv run python -m scripts.compare logs/sweeps/A logs/sweeps/B
uv run python -m scripts.compare SWEEP:optimizer.lr=1e-3 SWEEP:optimizer.lr=1e-4 --metric test/acc
uv run python -m scripts.compare --a RUN RUN RUN --b RUN RUN RUN

A folder with sweep.csv counts as all its finished jobs; FOLDER:key=value[,key=value] takes those with these settings.
"""

import argparse
import csv
import json
import math
import re
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from src.errors import ConfigError, did_you_mean
from src.sweep import t_interval, t_tails


class Run(NamedTuple):
    """What a finished run left in its folder."""

    folder: Path
    settings: dict[str, Any]  # config.yaml with dotted keys
    metrics: dict[str, Any]
    environment: dict[str, Any]

    @property
    def seed_and_fold(self) -> tuple[int, int]:
        return self.settings["seed"], self.settings.get("data.fold", 0)


Pair = tuple[Run, Run]


def main() -> None:
    parser = argparse.ArgumentParser("python -m scripts.compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("sides", nargs="*", metavar="FOLDER", help="A and B: each a sweep or a run")
    parser.add_argument("--a", nargs="+", default=[], metavar="FOLDER", help="several folders for A")
    parser.add_argument("--b", nargs="+", default=[], metavar="FOLDER", help="several folders for B")
    parser.add_argument("--metric", help="a key of metrics.json; default: last/<what the runs monitored>")
    arguments = parser.parse_args()
    try:
        a, b = sides(arguments.sides, arguments.a, arguments.b)
        compare(a, b, arguments.metric)
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def sides(both: list[str], a: list[str], b: list[str]) -> tuple[list[str], list[str]]:
    if len(both) == 2 and not a and not b:
        return both[:1], both[1:]
    if not both and a and b:
        return a, b
    raise ConfigError("Two sides are needed: give two folders, A and B, or --a FOLDER ... --b FOLDER ...")


def compare(texts_a: list[str], texts_b: list[str], wanted: str | None) -> None:
    runs_a, runs_b = find_runs(texts_a, "A"), find_runs(texts_b, "B")
    pairs = paired(runs_a, runs_b)
    require_same_data(pairs)
    metric = choose_metric(pairs, wanted)
    for side, texts, runs in (("A", texts_a, runs_a), ("B", texts_b, runs_b)):
        print(f"{side}: {', '.join(texts)} ({count(len(runs), 'run')})")
    changes = changed_settings(runs_a, runs_b)
    width = max((len(key) for key in changes), default=0)
    lines = [f"  {key:{width}}  {a} -> {b}" for key, (a, b) in changes.items()]
    print("\n".join(["What differs, A -> B:", *(lines or ["  nothing but seed and fold"])]))
    in_pairs = {run.folder for pair in pairs for run in pair}
    if alone := [str(run.folder) for run in [*runs_a, *runs_b] if run.folder not in in_pairs]:
        print(f"Left out, without a partner of the same seed and fold: {', '.join(alone)}")
    if metric_name(metric) == "loss" and any(key.startswith("loss.") for key in changes):
        print(f"Beware: each side measures {metric} by its own loss, and these differ. Choose another --metric.")
    print_table(pairs, metric)
    if metric.startswith("val/"):
        print(f"({metric} is of the epoch that was best on val, which flatters; last/{metric} is of the last.)")
    answered = [(answers(a, split_of(metric)), answers(b, split_of(metric))) for a, b in pairs]
    numbers, verdict = findings(pairs, metric, worth_of_a_picture(answered, metric))
    print("\n".join([numbers, *picture_lines(answered, metric), verdict]))


# --------------------------------------------------------------------------------------------------------- finding runs


def find_runs(texts: list[str], side: str) -> list[Run]:
    """The runs of one side, at most one for each seed and fold. Raises ConfigError."""
    runs: dict[tuple[int, int], Run] = {}
    for run in [run for text in texts for run in runs_of(text)]:
        twin = runs.setdefault(run.seed_and_fold, run)
        if twin is not run:
            changes = [f"{key}: {a}, {b}" for key, (a, b) in changed_settings([twin], [run]).items()]
            raise ConfigError(
                f"{side} has several runs of {named(run)}: '{twin.folder}' and '{run.folder}' "
                f"({'; '.join(changes) or 'the same settings'}). "
                "Leave one out, or pick a sweep's jobs by their settings: SWEEP:optimizer.lr=1e-3."
            )
    return list(runs.values())


def runs_of(text: str) -> list[Run]:
    """The run, or the finished jobs of the sweep, at `FOLDER` or `FOLDER:key=value,...`. Raises ConfigError."""
    path, _, conditions = ("", "", "") if Path(text).exists() else text.rpartition(":")
    folder = Path(path if "=" in conditions else text).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"There is no folder '{folder}'.")
    rows: list[tuple[Path, dict[str, str]]] = [(folder, {})]
    if (folder / "sweep.csv").is_file():
        with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
            rows = [(folder / row["job"], row) for row in csv.DictReader(file) if row["status"] == "done"]
    # A sweep's table also knows choices of groups such as freeze=head_only, which config.yaml spells out.
    found = [(run := read_run(job), run.settings | row) for job, row in rows]
    if not found:
        raise ConfigError(f"'{folder}' has no finished job: sweep.csv lists none as done.")
    for condition in conditions.split(",") if "=" in conditions else []:
        key, _, value = condition.partition("=")
        there = list(dict.fromkeys(plain(settings[key]) for _, settings in found if key in settings))
        if not there:
            near = did_you_mean(key, [name for _, settings in found for name in settings])
            raise ConfigError(f"'{key}' in '{text}' is no setting of these runs.{near}")
        found = [(run, settings) for run, settings in found if key in settings and same(plain(settings[key]), value)]
        if not found:
            raise ConfigError(f"No run in '{folder}' has {condition}. There are: {', '.join(there)}.")
    return [run for run, _ in found]


def read_run(folder: Path) -> Run:
    for name in ("metrics.json", "config.yaml", "environment.json"):
        if not (folder / name).is_file():
            raise ConfigError(
                f"'{folder}' has no {name}: expected the folder of a finished run, or of a sweep (with sweep.csv)."
            )
    settings = dict(dotted(OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))))
    metrics, environment = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("metrics.json", "environment.json")
    )
    return Run(folder, settings, metrics, environment)


def dotted(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """`("freeze.phases.0.train", "head")` and so on; lists of plain values stay whole."""
    prefix = f"{key}." if key else ""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from dotted(inner, f"{prefix}{name}")
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for i, inner in enumerate(value):
            yield from dotted(inner, f"{prefix}{i}")
    else:
        yield key, value


def plain(value: Any) -> str:
    """As yaml and the command line spell it; 1.0 like 1."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def same(one: str, other: str) -> bool:
    """Whether two spellings mean the same: 1e-3 and 0.001."""
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other


# --------------------------------------------------------------------------------------------------------------- pairs


def named(run: Run) -> str:
    seed, fold = run.seed_and_fold
    return f"seed {seed}" if run.settings.get("data.folds") is None else f"seed {seed} fold {fold}"


def paired(runs_a: list[Run], runs_b: list[Run]) -> list[Pair]:
    """Runs with the same seed and fold, in that order. Raises ConfigError."""
    a, b = ({run.seed_and_fold: run for run in runs} for runs in (runs_a, runs_b))
    if not (common := sorted(a.keys() & b.keys())):
        in_a, in_b = (", ".join(named(side[key]) for key in sorted(side)) for side in (a, b))
        raise ConfigError(
            f"Nothing to pair, since no run of A has the seed and fold of a run of B: A has {in_a}; B has {in_b}. "
            "Repeat both with the same seeds: sweep=seeds."
        )
    for key in common:
        if a[key].folder.resolve() == b[key].folder.resolve():
            raise ConfigError(f"'{a[key].folder}' is on both sides: a run cannot be compared with itself.")
    return [(a[key], b[key]) for key in common]


def require_same_data(pairs: list[Pair]) -> None:
    for a, b in pairs:
        if (one := a.environment["data_fingerprint"]) != (other := b.environment["data_fingerprint"]):
            raise ConfigError(
                f"Not the same data: data_fingerprint in environment.json is {one} in '{a.folder}' and {other} in "
                f"'{b.folder}'. Pictures, labels and splits must be the same: see data.split_seed and data.split_file."
            )


def choose_metric(pairs: list[Pair], wanted: str | None) -> str:
    """`wanted`, or what both sides monitored, of the last epoch if it is known. Raises ConfigError."""
    runs = [run for pair in pairs for run in pair]
    known = [name for name in runs[0].metrics if all(is_number(run.metrics.get(name)) for run in runs)]
    if wanted is None:
        monitors = list(dict.fromkeys(str(run.settings["task.monitor"]) for run in runs))
        if len(monitors) > 1:
            raise ConfigError(f"The runs monitored different metrics, {' and '.join(monitors)}: choose with --metric.")
        wanted = f"last/{monitors[0]}" if f"last/{monitors[0]}" in known else monitors[0]
    if wanted not in known:
        for run in runs:
            if any(wanted in other.metrics for other in runs) and not is_number(run.metrics.get(wanted)):
                raise ConfigError(f"{wanted} is missing or not a number in '{run.folder}/metrics.json'.")
        raise ConfigError(f"There is no metric '{wanted}'.{did_you_mean(wanted, known)} There are: {', '.join(known)}.")
    return wanted


def is_number(value: Any) -> bool:
    return isinstance(value, int | float)  # what was not finite is null in metrics.json


# ----------------------------------------------------------------------------------------------------------- settings


NOT_COMPARED = ("name", "output_dir", "resume", "seed", "data.fold")


def changed_settings(runs_a: list[Run], runs_b: list[Run]) -> dict[str, tuple[str, str]]:
    """Dotted key -> values in A, values in B: settings, commit and versions that are not the same in all runs."""
    facts_a, facts_b = [facts(run) for run in runs_a], [facts(run) for run in runs_b]
    changes = {}
    for key in dict.fromkeys(key for run in [*facts_a, *facts_b] for key in run):
        a, b = (list(dict.fromkeys(run.get(key, "-") for run in side)) for side in (facts_a, facts_b))
        if len({*a, *b}) > 1:
            changes[key] = (" or ".join(a), " or ".join(b))
    return changes


def facts(run: Run) -> dict[str, str]:
    texts = {key: plain(value) for key, value in run.settings.items() if key not in NOT_COMPARED}
    own_folder = f"{run.settings.get('output_dir')}/"  # in the settings of callbacks and loggers
    texts = {key: "in the run" if f"{text}/".startswith(own_folder) else text for key, text in texts.items()}
    if commit := run.environment.get("git_commit"):
        texts["git commit"] = commit[:8] + (" with changes" if run.environment.get("git_dirty") else "")
    return texts | {f"version of {name}": text for name, text in run.environment.get("versions", {}).items()}


# ------------------------------------------------------------------------------------------------------------- metrics


def metric_name(metric: str) -> str:
    """`acc` of last/val/acc, `mae` of val/mae/age."""
    parts = metric.removeprefix("last/").split("/")
    return parts[1] if len(parts) > 1 else parts[0]


def direction(metric: str, run: Run) -> int:
    """1 if higher is better, -1 if lower is better, 0 for what is neither good nor bad."""
    if metric.removeprefix("last/") == run.settings["task.monitor"]:
        return 1 if run.settings["task.mode"] == "max" else -1
    if metric_name(metric) in ("epochs", "steps", "lr"):
        return 0
    return -1 if re.search(r"loss|mae|mse|rmse|error|ece|nll|brier|seconds", metric_name(metric)) else 1


def unit(metric: str) -> tuple[float, str]:
    """Shares of 1 are told in points, hundredths; all else as it is."""
    in_points = re.match(r"(acc|balanced_acc|f1|map|auroc|precision|recall)(_|$)", metric_name(metric))
    return (100, " points") if in_points else (1, "")


def number(value: float, metric: str, sign: str = "") -> str:
    scale, name = unit(metric)
    return f"{value * scale:{sign}.{2 if name else 4}f}"


def values(pairs: list[Pair], metric: str) -> list[tuple[float, float]]:
    return [(float(a.metrics[metric]), float(b.metrics[metric])) for a, b in pairs]


def print_table(pairs: list[Pair], metric: str) -> None:
    table = Table(title=metric, title_justify="left")
    for name in ("", "A", "B", "B - A, points" if unit(metric)[1] else "B - A"):
        table.add_column(name, justify="right")
    for (run, _), (a, b) in zip(pairs, values(pairs, metric), strict=True):
        table.add_row(named(run), f"{a:.4f}", f"{b:.4f}", number(b - a, metric, "+"))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


# ---------------------------------------------------------------------------------------------------------- statistics


def findings(pairs: list[Pair], metric: str, one_picture: float | None) -> tuple[str, str]:
    """What the differences say in numbers, and in a sentence. Whether there is one goes by the t interval."""
    both = values(pairs, metric)
    differences, n, points = [b - a for a, b in both], len(pairs), unit(metric)[1]
    mean, rounding = statistics.mean(differences), 1e-6 * max(abs(value) for pair in both for value in pair)  # float32
    numbers = f"Mean of B - A: {number(mean, metric, '+')}{points}"
    sense = direction(metric, pairs[0][0])
    verdict = f"{'B' if mean * (sense or 1) > 0 else 'A'} is {'better' if sense else 'higher'} by "
    verdict += f"{number(abs(mean), metric)}{points}{' (lower is better)' * (sense < 0)}"
    if one_picture is not None and abs(mean) < one_picture - rounding:
        verdict += ", less than one picture"
    if max(abs(difference) for difference in differences) <= rounding:
        return f"{numbers}.", f"No difference: {metric} is the same on both sides."
    if n == 1:
        again = "whether another seed agrees is not known. Repeat both with sweep=seeds."
        return f"{numbers}. One pair has no spread, hence no interval.", f"{verdict}, in one pair: {again}"
    if len({run.seed_and_fold[1] for run, _ in pairs}) > 1:
        numbers += (
            f", std {number(statistics.stdev(differences), metric)} over {n} pairs. No interval and no p-value: folds "
            "share training pictures, so they are not independent (Bengio & Grandvalet 2004)."
        )
        agreeing = sum(difference * mean > 0 and abs(difference) > rounding for difference in differences)
        return numbers, f"{verdict} on average, in {agreeing} of {n} pairs."
    if statistics.stdev(differences) <= rounding:
        return f"{numbers} in each of {n} pairs: no spread, hence no interval.", f"{verdict}, in each of {n} pairs."
    low, high = t_interval(differences)
    t = mean / (statistics.stdev(differences) / math.sqrt(n))
    numbers += (
        f", 95 % CI {number(low, metric, '+')}..{number(high, metric, '+')} (paired t = {t:.2f}, df = {n - 1}, "
        f"p {p_text(t_tails(abs(t), n - 1))}).\nPermutation of signs: p {p_text(sign_flip_p(differences, rounding))}; "
        f"{n} pairs reach {smallest_p(n):.3g} at best."
    )
    if low <= 0 <= high:
        span = f"{number(low, metric, '+')} and {number(high, metric, '+')}{points}"
        return numbers, f"No difference beyond the noise of {n} seeds: B - A is somewhere between {span}."
    least, most = sorted((abs(low), abs(high)))
    return numbers, f"{verdict}, 95 % CI {number(least, metric)}..{number(most, metric)}."


EXACT_UP_TO, DRAWS = 16, 20_000


def sign_flip_p(differences: Sequence[float], tolerance: float = 0.0) -> float:
    """How often random signs give a mean at least as far from zero: the two-sided p that A and B are interchangeable.

    Exact, over all 2^n signs, for up to 16 differences [n]; from 20,000 drawn ones and the given one beyond that.
    `tolerance` is the rounding error of one difference: patterns within it count as ties.
    """
    d_N = np.asarray(differences, dtype=np.float64)
    n = len(d_N)
    if n <= EXACT_UP_TO:
        signs_PN = 1 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs_PN = np.random.default_rng(0).choice([-1.0, 1.0], size=(DRAWS, n))
        signs_PN = np.vstack([np.ones(n), signs_PN])
    sums_P = np.abs(signs_PN @ d_N)
    return float(np.mean(sums_P >= abs(d_N.sum()) - n * max(tolerance, 1e-12 * np.abs(d_N).max())))


def smallest_p(n: int) -> float:
    """All differences of one sign: two of the 2^n patterns."""
    return max(0.5 ** (n - 1), 0.0 if n <= EXACT_UP_TO else 1 / (DRAWS + 1))


def mcnemar_p(a_alone: int, b_alone: int) -> float:
    """Exact two-sided p that a picture on which just one of two models is right is either's with probability 1/2."""
    n, term, tail = a_alone + b_alone, 1, 1  # term is n over k, in whole numbers; math.comb for each k is slow
    for k in range(1, min(a_alone, b_alone) + 1):
        term = term * (n - k + 1) // k
        tail += term
    return min(1.0, 2 * tail / (1 << n))


def p_text(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.3g}"


# ------------------------------------------------------------------------------------------------------------ pictures


Answers = dict[str, bool] | None
Answered = tuple[Answers, Answers]


def answers(run: Run, split: str) -> Answers:
    """Whether each picture's class was found, by path; None if pictures have no single class or were not predicted."""
    file = run.folder / "report" / f"{split}_predictions.csv"
    if run.settings.get("task.labels") != "one" or not file.is_file():
        return None
    with file.open(newline="", encoding="utf-8") as opened:
        return {row["path"]: row["label"] == row["prediction"] for row in csv.DictReader(opened)}


def split_of(metric: str) -> str:
    return "test" if metric.startswith("test/") else "val"


def worth_of_a_picture(answered: list[Answered], metric: str) -> float | None:
    """What one picture adds to the metric; None if pictures do not all add the same, or were not predicted."""
    is_share = metric_name(metric) in ("acc", "acc_top5") and metric.removeprefix("last/").startswith(("val/", "test/"))
    sizes = [len(a) if a else 0 for a, _ in answered]
    return len(sizes) / sum(sizes) if is_share and all(sizes) else None


def picture_lines(answered: list[Answered], metric: str) -> list[str]:
    """What one picture is worth, and how many the best checkpoints of the two sides answer differently."""
    lines = []
    sizes, split = sorted({len(a) for a, _ in answered if a}), split_of(metric)
    both = [(a[path], b[path]) for a, b in answered if a and b for path in a.keys() & b.keys()]
    if (one_picture := worth_of_a_picture(answered, metric)) is not None:
        about, fewest = ("about ", f"{sizes[0]:,} to ") if len(sizes) > 1 else ("", "")
        lines.append(f"{fewest}{sizes[-1]:,} pictures: one picture is {about}{100 * one_picture:.2f} points.")
    if not all(a and b for a, b in answered):
        return lines
    lost, gained = both.count((True, False)), both.count((False, True))
    lines.append(
        f"Best checkpoints on {split}: of {len(both):,} answers, {gained} wrong with A are right with B, and {lost} "
        "right with A are wrong with B."
    )
    if len(answered) == 1:
        lines.append(
            f"McNemar's exact test between these two models, on these pictures: p {p_text(mcnemar_p(lost, gained))}."
        )
    return lines


def count(n: int, thing: str) -> str:
    return f"{n} {thing}{'s' if n != 1 else ''}"


if __name__ == "__main__":
    main()
