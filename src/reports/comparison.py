"""The page that compares runs: settings, metrics, curves, and the images that changed sides."""

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from src.data.decode import UnreadableImage, read_rgb
from src.data.formats.digit_images import read_digit
from src.evaluation.paired_tests import mcnemar_p, p_text, sign_flip_p
from src.files.csv_files import read_table
from src.files.plain_files import unreadable
from src.files.printable import printable
from src.reports.charts import BLUE, PALETTE, Curve, draw_curves
from src.reports.parts import SIDE_PX, SORTING, chart, html_table, small_image, write_document
from src.runs.finished_runs import Run, direction, facts
from src.settings.errors import ConfigError

SHOWN = 24  # images that changed, each way
PAIRED = 12  # runs whose images are compared with the first run's
CLEAR = 0.05  # p below which a difference is called more than chance


@dataclass(frozen=True)
class Answer:
    """What a run says about an image. `error`: 0 or 1, or wrong classes, or the distance from the numbers."""

    label: str
    text: str
    error: float


@dataclass(frozen=True)
class Change:
    """A run against the first one, on the images that both have predicted with the same label."""

    run: Run
    images: int
    mean_before: float
    mean_after: float
    p: float
    better: list[str]  # paths, the largest change first
    worse: list[str]


@dataclass(frozen=True)
class Comparison:
    runs: list[Run]
    names: list[str]
    split: str
    answers: list[dict[str, Answer]]
    changes: list[Change]

    def gist(self) -> list[str]:
        """A line for each run but the first."""
        return [verdict(self, change) for change in self.changes]


def compare_runs(runs: list[Run], split: str | None) -> Comparison:
    """Raises ConfigError if the runs have no predictions of the split, or predict different things."""
    kinds = {str(run.settings.get("task.targets")) for run in runs}
    if len(kinds) > 1:
        raise ConfigError(f"The runs predict different things (task.targets: {', '.join(sorted(kinds))}).")
    have_test = all(predictions_file(run, "test").is_file() for run in runs)
    split = split or ("test" if have_test else "val")
    for run in runs:
        if not predictions_file(run, split).is_file():
            raise ConfigError(f"split={split}: '{run.folder}' has no report/{split}_predictions.csv.")
    answers = [read_answers(run, split) for run in runs]
    for run, theirs in zip(runs, answers, strict=True):
        if not theirs:
            raise ConfigError(
                f"split={split}: '{run.folder}' has no prediction in report/{split}_predictions.csv: the outputs of "
                "its network are not finite. Compare the other runs."
            )
    changes = [compare(runs[0], run, answers[0], theirs) for run, theirs in
               list(zip(runs, answers, strict=True))[1 : PAIRED + 1]]  # fmt: skip
    return Comparison(runs, short_names(runs), split, answers, changes)


def predictions_file(run: Run, split: str) -> Path:
    return run.folder / "report" / f"{split}_predictions.csv"


def read_answers(run: Run, split: str) -> dict[str, Answer]:
    """By path. Raises ConfigError, which names file and line, if a row is no prediction."""
    file, answers = predictions_file(run, split), {}
    needed = {"numbers": (), "tags": ("prediction",)}.get(
        str(run.settings.get("task.targets")), ("prediction", "confidence")
    )
    for n, row in enumerate(read_table(file, ("path", "label", *needed))):
        try:
            answers[row["path"]] = answer_of(row, run.settings.get("task.targets"))
        except ValueError as error:
            raise unreadable(file, f"row {n + 1} has no number where one is needed, or too few") from error
    return answers


def answer_of(row: dict[str, str], kind: str | None) -> Answer:
    label = printable(row["label"])
    if kind == "numbers":
        texts = [value for name, value in row.items() if name.startswith("predicted:")]
        true, predicted = (np.array(values, dtype=float) for values in (row["label"].split(";"), texts))
        return Answer(label, printable("; ".join(texts)), float(np.abs(true - predicted).mean()))
    if kind == "tags":
        wrong = set(row["label"].split(";")) ^ set(row["prediction"].split(";"))
        return Answer(label, printable(row["prediction"]), float(len(wrong - {""})))
    text = f"{printable(row['prediction'])} {float(row['confidence']):.3f}"
    return Answer(label, text, float(row["prediction"] != row["label"]))


def compare(first: Run, run: Run, before: dict[str, Answer], after: dict[str, Answer]) -> Change:
    """McNemar's exact test for one class per image, else a permutation test of the errors (random signs)."""
    shared = [path for path in before if path in after and before[path].label == after[path].label]
    if not shared:
        raise ConfigError(f"'{first.folder}' and '{run.folder}' share no image with the same label.")
    errors_2N = np.array([[answers[path].error for path in shared] for answers in (before, after)])
    differences_N = errors_2N[1] - errors_2N[0]
    if run.settings.get("task.targets") == "classes":
        p = mcnemar_p(int((differences_N > 0).sum()), int((differences_N < 0).sum()))
    else:
        p = sign_flip_p(differences_N.tolist()) if differences_N.any() else 1.0
    order = np.argsort(differences_N, kind="stable").tolist()
    return Change(
        run=run,
        images=len(shared),
        mean_before=float(errors_2N[0].mean()),
        mean_after=float(errors_2N[1].mean()),
        p=p,
        better=[shared[n] for n in order if differences_N[n] < 0],
        worse=[shared[n] for n in reversed(order) if differences_N[n] > 0],
    )


def verdict(comparison: Comparison, change: Change) -> str:
    first, name = comparison.names[0], comparison.names[comparison.runs.index(change.run)]
    where = f"on {change.images:,} {comparison.split} images"
    if comparison.runs[0].settings.get("task.targets") == "classes":
        what = (
            f"{name} is right {where} {1 - change.mean_after:.4f} of the time, {first} {1 - change.mean_before:.4f}: "
            f"{len(change.better)} turned right, {len(change.worse)} wrong"
        )
    else:
        what = f"{name} errs {where} by {change.mean_after:.4g} on average, {first} by {change.mean_before:.4g}"
    chance = "more than chance on these images" if change.p < CLEAR else "which may be chance"
    return f"{what} (p {p_text(change.p)}, {chance})."


def short_names(runs: list[Run]) -> list[str]:
    """The folders' names, longer where two are called alike."""
    names = [run.folder.resolve().name for run in runs]
    return [
        name if names.count(name) == 1 else f"{run.folder.resolve().parent.name}/{name}"
        for run, name in zip(runs, names, strict=True)
    ]


# ------------------------------------------------------------------------------------------------------------- the page


def write_comparison(path: Path, comparison: Comparison) -> None:
    """One file, which loads nothing."""
    title = f"{len(comparison.runs)} runs compared"
    parts = [
        f"<h1>{title}</h1>",
        f"<p>All are compared with {escape(comparison.names[0])}, on {comparison.split}.</p>",
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in comparison.gist()) + "</ul>",
        "<p>The p-values are about these two trainings and other images. Whether the settings do better with other "
        "seeds too, <code>python -m scripts.compare</code> says for repeated runs.</p>",
        "<h2>Metrics</h2>",
        metrics_table(comparison),
        "<h2>Settings that differ</h2>",
        settings_table(comparison),
        curves(comparison),
        *(images_section(comparison, change) for change in comparison.changes),
    ]
    write_document(path, title, parts, SORTING)


def metrics_table(comparison: Comparison) -> str:
    first = comparison.runs[0]
    monitor = str(first.settings["task.monitor"])
    known = {name for run in comparison.runs for name, value in run.metrics.items() if isinstance(value, int | float)}
    wanted = [f"{split}/{name}" for split in ("test", "val") for name in (
        monitor.partition("/")[2], "acc", "balanced_acc", "f1", "map", "f1_macro", "mae", "rmse", "r2", "loss", "ece",
    )]  # fmt: skip
    names = [name for name in dict.fromkeys([*wanted, f"last/{monitor}", "epochs", "fit_seconds"]) if name in known]
    rows = [
        [comparison.names[n], *(number(run.metrics.get(name)) for name in names)]
        for n, run in enumerate(comparison.runs)
    ]
    marked = [f"{name} {'↑' if direction(name, first) > 0 else '↓' if direction(name, first) < 0 else ''}".strip()
              for name in names]  # fmt: skip
    return html_table(["run", *marked], rows, sortable=True)


def number(value: object) -> str:
    if not isinstance(value, int | float):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def settings_table(comparison: Comparison) -> str:
    every = [facts(run) | {"seed": str(run.settings.get("seed"))} for run in comparison.runs]
    keys = dict.fromkeys(key for one in every for key in one)
    different = [key for key in keys if len({one.get(key) for one in every}) > 1]
    if not different:
        return "<p>None: the runs repeat each other.</p>"
    rows = [[key, *(one.get(key, "-") for one in every)] for key in different]
    return html_table(["setting", *comparison.names], rows, texts=1 + len(every))


def curves(comparison: Comparison) -> str:
    monitor = str(comparison.runs[0].settings["task.monitor"])
    lines, longest = [], 0
    for n, run in enumerate(comparison.runs[:PAIRED]):
        file = run.folder / "epochs.csv"
        if file.is_file():
            values = [number_in(row.get(monitor, "")) for row in read_table(file)]
            longest = max(longest, len(values))
            lines.append(Curve(comparison.names[n], values, BLUE if not n else PALETTE[(n - 1) % len(PALETTE)]))
    if not longest:
        return ""
    return f"<h2>{escape(monitor)} by epoch</h2>{chart(draw_curves(monitor, lines), 'Curves')}"


def number_in(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def images_section(comparison: Comparison, change: Change) -> str:
    name = comparison.names[comparison.runs.index(change.run)]
    one = comparison.runs[0].settings.get("task.targets") == "classes"
    titles = ("Wrong before, right now", "Right before, wrong now") if one else ("Nearer now", "Farther off now")
    parts = [f"<h2>{escape(name)}: images that changed</h2>"]
    for title, paths in zip(titles, (change.better, change.worse), strict=True):
        parts.append(f"<h3>{title}: {len(paths):,}</h3>")
        parts.append(cards(comparison, change.run, paths[:SHOWN]))
    return "".join(parts)


def cards(comparison: Comparison, run: Run, paths: list[str]) -> str:
    before, after = comparison.answers[0], comparison.answers[comparison.runs.index(run)]
    items = []
    for path in paths:
        caption = (
            f"<figcaption>label: <b>{escape(after[path].label)}</b><br>before: {escape(before[path].text)}<br>"
            f'now: {escape(after[path].text)}<br><span class="where">{escape(printable(path))}</span></figcaption>'
        )
        items.append(f'<li class="card"><figure>{image(run, path)}{caption}</figure></li>')
    return f'<ul class="cards">{"".join(items)}</ul>' if items else ""


def image(run: Run, path: str) -> str:
    """Empty where the images are no files, or not there any more."""
    if run.settings.get("data._target_") == "src.data.formats.digits.DigitsDataModule":
        try:
            return small_image(read_digit(int(path.rpartition("/")[2])))
        except (ValueError, IndexError):  # of somebody else's run
            return ""
    roots = [run.settings.get("data.root"), Path(str(run.settings.get("data.file") or "")).parent]
    for root in roots:
        if root and (file := Path(root) / path).is_file():
            try:
                return small_image(read_rgb(file, SIDE_PX))
            except UnreadableImage:
                return ""
    return ""
