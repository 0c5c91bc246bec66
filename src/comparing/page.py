"""What the page of a comparison shows, as plain texts, numbers and images."""

import math
from pathlib import Path

from PIL import Image

from src.comparing.comparison import Comparison
from src.comparing.images import Change
from src.comparing.sides import changed_settings
from src.data.decode import UnreadableImage, read_rgb
from src.data.formats.digit_images import read_digit
from src.evaluation.metric_facts import FACTS
from src.files.csv_files import read_table
from src.files.printable import printable
from src.reports.comparison import ChangedImage, ChangedImages, ComparisonPage
from src.reports.parts import SIDE_PX
from src.runs.finished_runs import Run, direction

SHOWN = 24  # images that changed, each way
CURVES = 12


def page_of(comparison: Comparison) -> ComparisonPage:
    runs = comparison.runs
    monitor = str(runs[0].settings["task.monitor"])
    metrics = metrics_shown(runs, monitor)
    return ComparisonPage(
        names=comparison.names,
        gist=[*comparison.gist(), *comparison.notes],
        metrics=[marked(name, runs[0]) for name in metrics],
        values=[[number_text(run.metrics.get(name)) for name in metrics] for run in runs],
        settings=changed_settings([[run] for run in runs], also=("seed",)),
        monitor=monitor,
        curves=[curve(run, monitor) for run in runs[:CURVES]],
        paired=comparison.differences,
        changes=[changed(comparison, change) for change in comparison.changes],
    )


def metrics_shown(runs: list[Run], monitor: str) -> list[str]:
    known = {name for run in runs for name, value in run.metrics.items() if isinstance(value, int | float)}
    names = [f"{split}/{name}" for split in ("test", "val") for name in (monitor.partition("/")[2], *FACTS)]
    return [name for name in dict.fromkeys([*names, f"last/{monitor}", "epochs", "fit_seconds"]) if name in known]


def marked(metric: str, run: Run) -> str:
    """With an arrow to where it is better."""
    return f"{metric} {'↓ ↑'[direction(metric, run) + 1]}".strip()


def number_text(value: object) -> str:
    if not isinstance(value, int | float):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def curve(run: Run, monitor: str) -> list[float]:
    """The metric after each epoch, not-a-number where there is none; empty without epochs.csv."""
    file = run.folder / "epochs.csv"
    return [number_in(row.get(monitor, "")) for row in read_table(file)] if file.is_file() else []


def number_in(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def changed(comparison: Comparison, change: Change) -> ChangedImages:
    right_or_wrong = ("Wrong before, right now", "Right before, wrong now")
    titles = right_or_wrong if change.right_or_wrong else ("Nearer now", "Farther off now")
    old = comparison.answers.of(change.before, change.split)
    new = comparison.answers.of(change.run, change.split)
    groups = []
    for title, paths in zip(titles, (change.better, change.worse), strict=True):
        shown = [
            ChangedImage(printable(path), new[path].label, old[path].text, new[path].text, read_image(change.run, path))
            for path in paths[:SHOWN]
        ]
        groups.append((title, len(paths), shown))
    return ChangedImages(comparison.name(change.run), comparison.name(change.before), groups)


def read_image(run: Run, path: str) -> Image.Image | None:
    """None where the images are no files, or not there any more."""
    if run.settings.get("data._target_") == "src.data.formats.digits.DigitsDataModule":
        try:
            return read_digit(int(path.rpartition("/")[2]))
        except (ValueError, IndexError):  # of somebody else's run
            return None
    for root in (run.settings.get("data.root"), Path(str(run.settings.get("data.file") or "")).parent):
        if root and (file := Path(root) / path).is_file():
            try:
                return read_rgb(file, SIDE_PX)
            except UnreadableImage:
                return None
    return None
