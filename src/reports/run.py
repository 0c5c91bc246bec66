"""The page about a finished run, or about an evaluation: report/index.html. Every task brings its own sections."""

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from PIL import Image

from src.data.table import ImageTable
from src.evaluation.analysis import Interval
from src.files.shell import shell_word
from src.reports.charts import BLUE, Curve, draw_learning_curves
from src.reports.drawing import ORANGE
from src.reports.parts import SORTING, chart, html_table, small_image, thumbnail, write_document
from src.runs.results import SplitOutputs
from src.training.scores_task import ScoresTask


@dataclass
class RunReport:
    """What a page tells, and what it is made of.

    `config`: resolved. `metrics`: as in metrics.json. `environment`: as in environment.json. `epochs`: the lines of
    epochs.csv. `measured`: outputs by split; the last one is looked at closely. `run_dir`: None if only a
    checkpoint is known. `own_data`: whether the images are of the training's data set. `figures` and `intervals`
    (by metric, such as test/acc) fill up while the page is written.
    """

    title: str
    task: ScoresTask
    config: dict[str, Any]
    metrics: dict[str, Any]
    environment: dict[str, Any]
    measured: list[SplitOutputs]
    epochs: list[dict[str, str]] = field(default_factory=list)
    run_dir: Path | None = None
    ckpt: Path | None = None
    figures: dict[str, Image.Image] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    own_data: bool = True

    @property
    def split(self) -> str:
        return self.measured[-1].split

    def figure(self, name: str, image: Image.Image, alt: str) -> str:
        """HTML of a chart, which TensorBoard gets too, by this name."""
        self.figures[name] = image
        return chart(image, alt)

    def metric_text(self, name: str) -> str:
        """`0.9833 [0.9666..0.9944]`."""
        interval = self.intervals.get(name)
        text = number_text(self.metrics.get(name))
        return f"{text} [{number_text(interval[0])}..{number_text(interval[1])}]" if interval else text


def number_text(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def write_run_page(path: Path, report: RunReport, headline: list[str], details: list[str]) -> None:
    """Write the page; `headline` names metrics without their split, `details` are the task's own sections."""
    sections = {
        "metrics": metrics_section(report),
        "learning": learning_section(report),
        **{f"details{n}": section for n, section in enumerate(details)},
        "speed": speed_section(report),
        "commands": commands_section(report),
        "environment": environment_section(report),
    }
    parts = [f"<h1>{escape(report.title)}</h1>", summary(report), big_numbers(report, headline), *sections.values()]
    write_document(path, report.title, parts, SORTING)


def section(title: str, *parts: str) -> str:
    """Empty if there is nothing in it."""
    body = "\n".join(part for part in parts if part)
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


# ------------------------------------------------------------------------------------------------------------- sections


def summary(report: RunReport) -> str:
    """What was trained on what, and whether these images were new to it."""
    table, config = report.measured[-1].table, report.config
    counts = ", ".join(f"{len(rows):,} {name}" for name, rows in table.splits.items())
    what = "targets" if table.label_kind == "numbers" else "classes"
    network = f"{config['backbone']['name']}, weights {Path(str(config['backbone']['weights'] or 'random')).name}"
    lines = [f"{network}. {counts} images, {len(table.class_names):,} {what}."]
    skipped = sum(len(outputs.table.splits.get(outputs.split, ())) - len(outputs.rows_N)
                  for outputs in report.measured if outputs.split in outputs.table.splits)  # fmt: skip
    if skipped > 0:
        lines.append(f"{skipped:,} more images of these splits could not be read, or were left out.")
    if lost := [outputs.split for outputs in report.measured if not outputs.measurable]:
        lines.append(f"Too many outputs for {' and '.join(lost)} are not finite: there are no metrics of them.")
    if report.own_data and report.split == "val":
        lines.append("The best epoch was chosen by val, so its numbers flatter.")
        if "test" not in table.splits:
            lines.append("There is no test split: data.test_fraction=0.15 keeps images apart.")
    if report.own_data and report.split in ("train", "all"):
        lines.append("The model was trained on these images, or on some of them: the numbers flatter.")
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return paragraphs


def big_numbers(report: RunReport, headline: list[str]) -> str:
    cards = []
    for name in headline:
        key = f"{report.split}/{name}"
        if key not in report.metrics:
            continue
        interval = report.intervals.get(key)
        text = f"95 %: {number_text(interval[0])} to {number_text(interval[1])}" if interval else "no interval"
        cards.append(f"<div>{escape(key)}<b>{number_text(report.metrics[key])}</b><span>{text}</span></div>")
    return f'<div class="big">{"".join(cards)}</div>'


def metrics_section(report: RunReport) -> str:
    splits = [outputs.split for outputs in report.measured]
    names = [name.partition("/")[2] for name in report.metrics if name.startswith(f"{splits[-1]}/")]
    rows = [[name, *(report.metric_text(f"{split}/{name}") for split in splits)] for name in names]
    images = ", ".join(f"{len(outputs.rows_N):,} {outputs.split}" for outputs in report.measured)
    grouped = report.measured[-1].table.groups_N is not None
    unit = "groups of images" if grouped else "images"
    note = (
        f"<p>Images: {images}. In brackets: 95 % intervals from 1,000 resamplings of the {unit} (bootstrap). They "
        "say what other images of this kind would give, not what another training would.</p>"
    )
    return section("Metrics", note, html_table(["metric", *splits], rows))


def learning_section(report: RunReport) -> str:
    if not report.epochs:
        return ""
    epochs = [int(row["epoch"]) for row in report.epochs]

    def values(name: str) -> list[float]:
        return [float(row.get(name) or "nan") for row in report.epochs]

    monitor = report.config["task"]["monitor"]
    score = monitor.partition("/")[2]
    losses = [Curve("train/loss", values("train/loss"), ORANGE), Curve("val/loss", values("val/loss"), BLUE)]
    scores = [Curve(monitor, values(monitor), BLUE)]
    if f"train/{score}" in report.epochs[0] and score != "loss":
        scores.insert(0, Curve(f"train/{score}", values(f"train/{score}"), ORANGE))
    image = draw_learning_curves(epochs, losses, scores, values("lr"), phase_spans(report))
    best = max if report.config["task"]["mode"] == "max" else min
    finite = [(value, epoch) for value, epoch in zip(values(monitor), epochs, strict=True) if math.isfinite(value)]
    note = ""
    if finite:
        value = best(value for value, _ in finite)
        epoch = next(epoch for v, epoch in finite if v == value)
        note = f"<p>Best {escape(monitor)}: {number_text(value)} in epoch {epoch} of {epochs[-1]}.</p>"
    return section("Training", note, report.figure("report/learning_curves", image, "Loss, metric and rate by epoch"))


def phase_spans(report: RunReport) -> list[tuple[int, int, str]]:
    """(first epoch, last epoch, what trains) of each phase."""
    plan = report.config["freeze"]["phases"]
    spans = []
    for index, phase in enumerate(plan, start=1):
        epochs = [int(row["epoch"]) for row in report.epochs if row.get("phase") == str(index)]
        if epochs:
            spans.append((epochs[0], epochs[-1], f"trains {phase['train']}"))
    return spans


def speed_section(report: RunReport) -> str:
    metrics, rows = report.metrics, []
    if report.epochs:
        seconds = statistics.median(float(row["seconds"]) for row in report.epochs)
        images = len(report.measured[-1].table.splits.get("train", ()))
        rows.append(["an epoch, train and val (median)", f"{seconds:.1f} s"])
        if report.own_data:
            rows.append(["training images per second, val included", f"{images / max(seconds, 1e-9):,.0f}"])
    if "fit_seconds" in metrics:
        rows.append(["fit", f"{metrics['fit_seconds']:,.0f} s, {metrics['epochs']} epochs, {metrics['steps']:,} steps"])
    for name, text in (("peak_memory_mib", "most memory of the process"), ("peak_gpu_memory_mib", "most GPU memory")):
        if name in report.environment:
            rows.append([text, f"{report.environment[name]:,.0f} MiB"])
    trained = sum(p.numel() for p in report.task.model.parameters())
    rows.append(["parameters", f"{trained / 1e6:.3g} M"])
    device = ", ".join(report.environment.get("gpus") or []) or f"{report.environment.get('cpu_threads')} CPU threads"
    rows.append(["device", device])
    return section("Speed and memory", html_table(["", ""], rows, texts=2))


def commands_section(report: RunReport) -> str:
    where = shown_path(report.run_dir or report.ckpt)
    if where is None:
        return ""
    lines = [
        f"python -m src.evaluate ckpt={where}",
        f"python -m src.predict ckpt={where} images=<folder>",
        f"python -m src.explain ckpt={where} images=<folder>",
        f"python -m src.export ckpt={where} format=onnx",
        f"python -m src.serve ckpt={where}",
    ]
    if report.run_dir is not None:
        lines.append(f"python -m src.train resume={where}")
    return section("Commands", f"<pre>{escape(chr(10).join(lines))}</pre>")


def shown_path(path: Path | None) -> str | None:
    """As it would be typed here."""
    if path is None:
        return None
    here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return shell_word(str(here))


def environment_section(report: RunReport) -> str:
    facts = json.dumps(report.environment, indent=2, ensure_ascii=False)
    config = OmegaConf.to_yaml(OmegaConf.create(report.config))
    return section(
        "Settings and environment",
        f"<details><summary>All settings</summary><pre>{escape(config)}</pre></details>",
        f"<details><summary>Environment</summary><pre>{escape(facts)}</pre></details>",
    )


# ------------------------------------------------------------------------------------------------------------- images


def image_cards(
    table: ImageTable, cards: list[tuple[int, str, bool, str]], maps: Mapping[int, Image.Image] | None = None
) -> str:
    """Images by (row of the table, what the model says, whether that is right, a remark), each with its label.

    `maps`: by row, what is shown beside an image.
    """
    items = []
    for row, answer, right, remark in cards:
        color = "" if right else ' class="wrong"'
        caption = (
            f"<figcaption><b{color}>{escape(answer)}</b><br>label: {escape(table.label_text(row))}"
            f'<br><span class="where">{escape(remark)}{"<br>" if remark else ""}{escape(str(table.paths[row]))}</span>'
            "</figcaption>"
        )
        shown = thumbnail(table, row)
        if maps and row in maps:
            shown = f'<div class="pair">{shown}{small_image(maps[row])}</div>'
        items.append(f'<li class="card"><figure>{shown}{caption}</figure></li>')
    size = " wide" if maps else ""
    return f'<ul class="cards{size}">{"".join(items)}</ul>' if items else ""
