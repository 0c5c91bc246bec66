"""The page that compares runs: metrics, settings, curves, pairs, and the images whose answers changed."""

import math
from html import escape
from pathlib import Path

from src.comparing.changed import images_section
from src.comparing.comparison import Comparison
from src.comparing.differences import PairedTable
from src.comparing.sides import changed_settings
from src.evaluation.metric_facts import FACTS
from src.files.csv_files import read_table
from src.reports.charts import BLUE, PALETTE, Curve, draw_curves
from src.reports.parts import SORTING, chart, html_table, write_document
from src.runs.finished_runs import Run, direction

CURVES = 12  # runs whose curves are drawn


def write_comparison(path: Path, comparison: Comparison) -> None:
    """One file, which loads nothing."""
    runs, names = comparison.runs, comparison.names
    title, monitor = f"{len(runs)} runs compared", str(runs[0].settings["task.monitor"])
    metrics = metrics_shown(runs, monitor)
    values = [
        [name, *(number_text(run.metrics.get(metric)) for metric in metrics)]
        for name, run in zip(names, runs, strict=True)
    ]
    different = [[key, *texts] for key, texts in changed_settings([[run] for run in runs], also=("seed",)).items()]
    gist = "".join(f"<li>{escape(line)}</li>" for line in [*comparison.gist(), *comparison.notes])
    parts = [
        f"<h1>{title}</h1><ul>{gist}</ul>",
        "<p>The p-values are about these trained models on these images. Whether the settings do better with other "
        "seeds too needs several runs of each: <code>sweep=seeds</code>.</p>",
        "<h2>Metrics</h2>",
        html_table(["run", *(marked(metric, runs[0]) for metric in metrics)], values, sortable=True),
        *map(paired_section, comparison.differences),
        "<h2>Settings that differ</h2>",
        html_table(["setting", *names], different, texts=1 + len(names))
        if different
        else "<p>None: the runs repeat each other.</p>",
        curves_section(names, runs[:CURVES], monitor),
        *(images_section(comparison, change) for change in comparison.changes),
    ]
    write_document(path, title, parts, SORTING)


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


def paired_section(table: PairedTable) -> str:
    unit = f", {table.unit}" if table.unit else ""
    return (
        f"<h2>{escape(table.metric)}, paired by seed and fold</h2><pre>{escape(chr(10).join(table.before))}</pre>"
        + html_table(["", "A", "B", f"B - A{unit}"], table.rows)
        + "".join(f"<p>{escape(line)}</p>" for line in table.after)
    )


def curves_section(names: list[str], runs: list[Run], monitor: str) -> str:
    """The metric after each epoch, of the runs that have an epochs.csv."""
    lines = []
    for name, run, color in zip(names, runs, [BLUE, *PALETTE * len(runs)], strict=False):
        if (file := run.folder / "epochs.csv").is_file():
            lines.append(Curve(name, [number_in(row.get(monitor, "")) for row in read_table(file)], color))
    lines = [line for line in lines if line.values]
    return f"<h2>{escape(monitor)} per epoch</h2>{chart(draw_curves(monitor, lines), 'Curves')}" if lines else ""


def number_in(text: str) -> float:
    """Not-a-number where there is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
