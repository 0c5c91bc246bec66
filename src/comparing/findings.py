"""What the differences of a metric between pairs of runs say: the interval of their mean, tests, and a verdict."""

import math
import statistics

from src.comparing.sides import Pair
from src.evaluation.metric_facts import facts_of
from src.evaluation.paired_tests import p_text, sign_flip_p, smallest_p
from src.evaluation.student_t import t_interval, t_tails
from src.runs.finished_runs import direction


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
