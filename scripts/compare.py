"""Is B better than A, or is it chance? Runs of two settings, paired by seed and fold.

uv run python -m scripts.compare logs/sweeps/A logs/sweeps/B
uv run python -m scripts.compare SWEEP:optimizer.lr=1e-3 SWEEP:optimizer.lr=1e-4 --metric test/acc
uv run python -m scripts.compare --a RUN RUN RUN --b RUN RUN RUN

A folder with sweep.csv counts as all its finished jobs; FOLDER:key=value[,key=value] takes those with these settings.
"""

import argparse
import math
import re
import statistics
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from src.evaluation.paired_tests import mcnemar_p, p_text, sign_flip_p, smallest_p
from src.evaluation.student_t import t_interval, t_tails
from src.files.csv_files import read_table
from src.runs.finished_runs import Run, direction, facts, metric_name, runs_of
from src.settings.errors import ConfigError, did_you_mean

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
    numbers, verdict = findings(pairs, metric, worth_of_an_image(answered, metric))
    print("\n".join([numbers, *image_lines(answered, metric), verdict]))


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
                f"'{b.folder}'. Images, labels and splits must be the same: see data.split_seed and data.split_file."
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


def changed_settings(runs_a: list[Run], runs_b: list[Run]) -> dict[str, tuple[str, str]]:
    """Dotted key -> values in A, values in B: settings, commit and versions that are not the same in all runs."""
    facts_a, facts_b = [facts(run) for run in runs_a], [facts(run) for run in runs_b]
    changes = {}
    for key in dict.fromkeys(key for run in [*facts_a, *facts_b] for key in run):
        a, b = (list(dict.fromkeys(run.get(key, "-") for run in side)) for side in (facts_a, facts_b))
        if len({*a, *b}) > 1:
            changes[key] = (" or ".join(a), " or ".join(b))
    return changes


# ------------------------------------------------------------------------------------------------------------- metrics


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


def findings(pairs: list[Pair], metric: str, one_image: float | None) -> tuple[str, str]:
    """What the differences say in numbers, and in a sentence. Whether there is one goes by the t interval."""
    both = values(pairs, metric)
    differences, n, points = [b - a for a, b in both], len(pairs), unit(metric)[1]
    mean, rounding = statistics.mean(differences), 1e-6 * max(abs(value) for pair in both for value in pair)  # float32
    numbers = f"Mean of B - A: {number(mean, metric, '+')}{points}"
    sense = direction(metric, pairs[0][0])
    verdict = f"{'B' if mean * (sense or 1) > 0 else 'A'} is {'better' if sense else 'higher'} by "
    verdict += f"{number(abs(mean), metric)}{points}{' (lower is better)' * (sense < 0)}"
    if one_image is not None and abs(mean) < one_image - rounding:
        verdict += ", less than one image"
    if max(abs(difference) for difference in differences) <= rounding:
        return f"{numbers}.", f"No difference: {metric} is the same on both sides."
    if n == 1:
        again = "whether another seed agrees is not known. Repeat both with sweep=seeds."
        return f"{numbers}. One pair has no spread, hence no interval.", f"{verdict}, in one pair: {again}"
    if len({run.seed_and_fold[1] for run, _ in pairs}) > 1:
        numbers += (
            f", std {number(statistics.stdev(differences), metric)} over {n} pairs. No interval and no p-value: folds "
            "share training images, so they are not independent (Bengio & Grandvalet 2004)."
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


# ------------------------------------------------------------------------------------------------------------ images


Answers = dict[str, bool] | None
Answered = tuple[Answers, Answers]


def answers(run: Run, split: str) -> Answers:
    """Whether each image's class was found, by path; None if images have no single class or were not predicted."""
    file = run.folder / "report" / f"{split}_predictions.csv"
    if run.settings.get("task.targets") != "classes" or not file.is_file():
        return None
    rows = read_table(file, ("path", "label", "prediction"))
    return {row["path"]: row["label"] == row["prediction"] for row in rows}


def split_of(metric: str) -> str:
    return "test" if metric.startswith("test/") else "val"


def worth_of_an_image(answered: list[Answered], metric: str) -> float | None:
    """What one image adds to the metric; None if images do not all add the same, or were not predicted."""
    is_share = metric_name(metric) in ("acc", "acc_top5") and metric.removeprefix("last/").startswith(("val/", "test/"))
    sizes = [len(a) if a else 0 for a, _ in answered]
    return len(sizes) / sum(sizes) if is_share and all(sizes) else None


def image_lines(answered: list[Answered], metric: str) -> list[str]:
    """What one image is worth, and how many the best checkpoints of the two sides answer differently."""
    lines = []
    sizes, split = sorted({len(a) for a, _ in answered if a}), split_of(metric)
    both = [(a[path], b[path]) for a, b in answered if a and b for path in a.keys() & b.keys()]
    if (one_image := worth_of_an_image(answered, metric)) is not None:
        about, fewest = ("about ", f"{sizes[0]:,} to ") if len(sizes) > 1 else ("", "")
        lines.append(f"{fewest}{sizes[-1]:,} images: one image is {about}{100 * one_image:.2f} points.")
    if not all(a and b for a, b in answered):
        return lines
    lost, gained = both.count((True, False)), both.count((False, True))
    lines.append(
        f"Best checkpoints on {split}: of {len(both):,} answers, {gained} wrong with A are right with B, and {lost} "
        "right with A are wrong with B."
    )
    if len(answered) == 1:
        lines.append(
            f"McNemar's exact test between these two models, on these images: p {p_text(mcnemar_p(lost, gained))}."
        )
    return lines


def count(n: int, thing: str) -> str:
    return f"{n} {thing}{'s' if n != 1 else ''}"


if __name__ == "__main__":
    main()
