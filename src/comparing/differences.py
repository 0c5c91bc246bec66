"""One side against another: settings that differ, and a metric of the runs, paired by seed and fold."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.comparing.findings import findings, number, unit, values
from src.comparing.images import Answers, changed_images, predictions_file
from src.comparing.sides import Pair, Side, changed_settings, named, paired
from src.evaluation.metric_facts import facts_of, metric_name
from src.evaluation.paired_tests import p_text
from src.runs.finished_runs import Run
from src.settings.errors import ConfigError, did_you_mean


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
        flatters = f"({metric} is of the epoch that was best on val, which flatters; last/{metric} is of the last.)"
        after.insert(0, flatters)
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
    predicted = all(predictions_file(run, split).is_file() for pair in pairs for run in pair)
    changes = [changed_images(answers, a, b, split) for a, b in pairs] if predicted else []
    if not changes or not all(change.right_or_wrong for change in changes):
        return None, []
    worth, lines, sizes = None, [], sorted(len(answers.of(a, split)) for a, _ in pairs)
    if facts_of(metric).counts_images and metric.removeprefix("last/").startswith(("val/", "test/")):
        worth = len(sizes) / sum(sizes)
        about, fewest = ("about ", f"{sizes[0]:,} to ") if sizes[0] < sizes[-1] else ("", "")
        lines.append(f"{fewest}{sizes[-1]:,} images: one image is {about}{100 * worth:.2f} points.")
    gained, lost = (sum(map(len, paths)) for paths in zip(*((c.better, c.worse) for c in changes), strict=True))
    lines.append(
        f"Best checkpoints on {split}: of {sum(change.images for change in changes):,} answers, {gained} wrong with A "
        f"are right with B, and {lost} right with A are wrong with B."
    )
    if len(changes) == 1:
        p = p_text(changes[0].p)
        lines.append(f"McNemar's exact test between these two models, on these images: p {p}.")
    return worth, lines
