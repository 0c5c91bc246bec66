"""One side against another: settings that differ, and a metric of the runs, paired by seed and fold."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from src.comparing.images import Answers, answers_file, changed_images
from src.comparing.sides import Pair, Side, changed_settings, named, paired
from src.evaluation.metric_facts import facts_of, metric_name
from src.evaluation.significance import p_text, sign_flip_p, smallest_p, t_interval, t_tails
from src.runs.finished_runs import Run, direction
from src.settings.errors import ConfigError, did_you_mean
from src.settings.plurals import number_of


@dataclass(frozen=True)
class PairedTable:
    """A metric of two sides. `rows`: pair, A, B, B - A in `unit`; lines of text: what is compared, and what follows."""

    metric: str
    unit: str
    rows: Sequence[Sequence[str]]
    before: Sequence[str]
    after: Sequence[str]


def difference(first: Side, other: Side, wanted: str | None, answers: Answers) -> PairedTable:
    """The last line is the verdict. Raises ConfigError if there is nothing to pair, or no metric that all have."""
    pairs = paired(first, other)
    metric = choose_metric([run for pair in pairs for run in pair], wanted)
    sides = (("A", first, len(first.runs)), ("B", other, len(other.runs)))
    before = [f"{letter}: {side.text} ({n} run{'s' if n != 1 else ''})" for letter, side, n in sides]
    changes = changed_settings([first.runs, other.runs])
    width = max((len(key) for key in changes), default=0)
    lines = [f"  {key:{width}}  {a} -> {b}" for key, (a, b) in changes.items()]
    before += ["What differs, A -> B:", *(lines or ["  nothing but seed and fold"])]
    in_pairs = {run.folder for pair in pairs for run in pair}
    if alone := [str(run.folder) for run in [*first.runs, *other.runs] if run.folder not in in_pairs]:
        before.append(f"Left out, without a partner of the same seed and fold: {', '.join(alone)}")
    if metric_name(metric) == "loss" and any(key.startswith("loss.") for key in changes):
        before.append(f"Beware: each side measures {metric} by its own loss, and these differ. Choose another metric=.")
    worth, image_lines = paired_images(pairs, metric, answers)
    numbers, verdict = findings(pairs, metric, worth)
    after = [*numbers.splitlines(), *image_lines, verdict]
    if metric.startswith("val/"):
        beware = f"({metric} is of the epoch that was best on val, so optimistic; last/{metric} is of the last.)"
        after.insert(0, beware)
    rows = [
        (named(run), f"{a:.4f}", f"{b:.4f}", number(b - a, metric, "+"))
        for (run, _), (a, b) in zip(pairs, values(pairs, metric), strict=True)
    ]
    return PairedTable(metric, unit(metric)[1].strip(), rows, before, after)


def choose_metric(runs: Sequence[Run], wanted: str | None) -> str:
    """`wanted`, or what all monitored, of the last epoch if it is known. Raises ConfigError."""
    known = [name for name in runs[0].metrics if all(is_number(run.metrics.get(name)) for run in runs)]
    if wanted is None:
        monitors = list(dict.fromkeys(str(run.settings["task.monitor"]) for run in runs))
        if len(monitors) > 1:
            raise ConfigError(f"The runs monitored different metrics, {' and '.join(monitors)}: choose with metric=.")
        wanted = f"last/{monitors[0]}" if f"last/{monitors[0]}" in known else monitors[0]
    if wanted not in known:
        for run in runs:
            if any(wanted in other.metrics for other in runs) and not is_number(run.metrics.get(wanted)):
                raise ConfigError(f"{wanted} is missing or not a number in '{run.folder}/metrics.json'.")
        raise ConfigError(f"There is no metric '{wanted}'.{did_you_mean(wanted, known)} There are: {', '.join(known)}.")
    return wanted


def is_number(value: object) -> bool:
    return isinstance(value, int | float)  # what was not finite is null in metrics.json


def paired_images(pairs: list[Pair], metric: str, answers: Answers) -> tuple[float | None, list[str]]:
    """What one image adds to the metric, and lines about the images of the metric's split.

    None if not all images add the same. No lines where images were not predicted, or are not just right or wrong.
    """
    split = "test" if metric.startswith("test/") else "val"
    predicted = all(answers_file(run, split).is_file() for pair in pairs for run in pair)
    changes = [changed_images(answers, a, b, split) for a, b in pairs] if predicted else []
    if not changes or not all(change.right_or_wrong for change in changes):
        return None, []
    worth, lines, sizes = None, [], sorted(len(answers.of(a, split)) for a, _ in pairs)
    if facts_of(metric).counts_images and metric.removeprefix("last/").startswith(("val/", "test/")):
        worth = len(sizes) / sum(sizes)
        about, fewest = ("about ", f"{sizes[0]:,} to ") if sizes[0] < sizes[-1] else ("", "")
        lines.append(f"{fewest}{number_of(sizes[-1], 'image')}: one image is {about}{100 * worth:.2f} points.")
    gained, lost = (sum(map(len, paths)) for paths in zip(*((c.better, c.worse) for c in changes), strict=True))
    lines.append(
        f"Best checkpoints on {split}: of {sum(change.images for change in changes):,} answers, {gained} wrong with A "
        f"are right with B, and {lost} right with A are wrong with B."
    )
    if len(changes) == 1:
        p = p_text(changes[0].p)
        lines.append(f"McNemar's exact test between these two models, on these images: p {p}.")
    return worth, lines


def unit(metric: str) -> tuple[float, str]:
    """Shares of 1 are told in points, hundredths; all else as it is."""
    return (100, " points") if facts_of(metric).unit == "share" else (1, "")


def number(value: float, metric: str, sign: str = "") -> str:
    scale, name = unit(metric)
    return f"{value * scale:{sign}.{2 if name else 4}f}"


def values(pairs: list[Pair], metric: str) -> list[tuple[float, float]]:
    return [(float(a.metrics[metric]), float(b.metrics[metric])) for a, b in pairs]


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
    return seeds_compared(differences, rounding, metric, numbers, verdict)


def seeds_compared(
    differences: list[float], rounding: float, metric: str, numbers: str, verdict: str
) -> tuple[str, str]:
    """`findings` where several seeds differ: the interval decides, both tests stand beside it."""
    n, points, (low, high) = len(differences), unit(metric)[1], t_interval(differences)
    t = statistics.mean(differences) / (statistics.stdev(differences) / math.sqrt(n))
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
