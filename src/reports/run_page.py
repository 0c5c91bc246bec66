"""The page about a finished run, or about an evaluation: report/index.html. Every task brings its own sections."""

import json
import math
import statistics
from html import escape
from pathlib import Path

from omegaconf import OmegaConf

from src.evaluation.best_epoch import best_epoch
from src.evaluation.metric_facts import facts_of
from src.files.printable import shell_word
from src.reports.charts import BLUE, Curve, draw_learning_curves
from src.reports.drawing import ORANGE
from src.reports.parts import SORTING, html_table, section, write_document
from src.reports.run_report import RunReport, TaskWords, number_text
from src.settings.plurals import number_of


def write_run_page(path: Path, report: RunReport, words: TaskWords, headline: list[str], details: list[str]) -> None:
    """`headline` names metrics without their split, `details` are the task's own sections."""
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        summary(report, words),
        big_numbers(report, headline),
        metrics_section(report),
        learning_section(report),
        *details,
        speed_section(report),
        commands_section(report, words),
        environment_section(report),
    ]
    write_document(path, report.title, parts, SORTING)


def summary(report: RunReport, words: TaskWords) -> str:
    """What was trained on what, and whether these images were new to it."""
    table, config = report.table, report.config
    counts = ", ".join(f"{len(rows):,} {name}" for name, rows in table.splits.items())
    network = f"{config['backbone']['name']}, weights {Path(str(config['backbone']['weights'] or 'random')).name}"
    lines = [f"{network}. {counts} images, {number_of(len(table.class_names), *table.targets.noun)}."]
    skipped = sum(len(table.splits[one.split]) - len(one) for one in report.measured if one.split in table.splits)
    if skipped > 0:
        lines.append(f"{skipped:,} more images of these splits could not be read, or were left out.")
    if lost := [one.split for one in report.measured if not one.measurable]:
        lines.append(f"Too many outputs for {' and '.join(lost)} are not finite: there are no metrics of them.")
    if report.own_data and report.split == "val":
        lines.append("The best epoch was chosen by val, so its numbers are optimistic.")
        if "test" not in table.splits:
            lines.append("There is no test split: data.test_fraction=0.15 keeps images apart.")
    if report.own_data and report.split in ("train", "all"):
        lines.append("The model was trained on these images, or on some of them: the numbers are optimistic.")
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


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


def meaning(metric: str) -> str:
    facts = facts_of(metric)
    direction = {"max": ", higher is better", "min": ", lower is better"}.get(facts.better, "")
    return f"{facts.words}{', as trained' if metric.endswith('_uncalibrated') else ''}{direction}"


def metrics_section(report: RunReport) -> str:
    splits = [one.split for one in report.measured]
    names = [name.partition("/")[2] for name in report.metrics if name.startswith(f"{splits[-1]}/")]
    rows = [
        [name, meaning(f"{splits[-1]}/{name}"), *(report.metric_text(f"{split}/{name}") for split in splits)]
        for name in names
    ]
    images = ", ".join(f"{len(one):,} {one.split}" for one in report.measured)
    unit = "images" if report.table.groups_N is None else "groups of images"
    note = (
        f"<p>Images: {images}. In brackets: 95 % intervals from 1,000 resamplings of the {unit} (bootstrap). They "
        "say what other images of this kind would give, not what another training would.</p>"
    )
    return section("Metrics", note, html_table(["metric", "meaning", *splits], rows, texts=2, short=True))


def learning_section(report: RunReport) -> str:
    """Loss, metric and learning rate by epoch."""
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
    figure = report.figure("report/learning_curves", image, "Loss, metric and rate by epoch")
    finite = [(value, epoch) for value, epoch in zip(values(monitor), epochs, strict=True) if math.isfinite(value)]
    if not finite:
        return section("Learning curves", figure)
    value, epoch = finite[best_epoch([value for value, _ in finite], report.config["task"]["mode"])]
    note = f"<p>Best {escape(monitor)}: {number_text(value)} in epoch {epoch} of {epochs[-1]}.</p>"
    return section("Learning curves", note, figure)


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
        images = len(report.table.splits.get("train", ()))
        rows.append(["an epoch, train and val (median)", f"{seconds:.1f} s"])
        if report.own_data:
            rows.append(["training images per second, val included", f"{images / max(seconds, 1e-9):,.0f}"])
    if "fit_seconds" in metrics:
        rows.append(["fit", f"{metrics['fit_seconds']:,.0f} s, {metrics['epochs']} epochs, {metrics['steps']:,} steps"])
    for name, text in (("peak_memory_mib", "most memory of the process"), ("peak_gpu_memory_mib", "most GPU memory")):
        if name in report.environment:
            rows.append([text, f"{report.environment[name]:,.0f} MiB"])
    rows.append(["parameters", f"{report.parameters / 1e6:.3g} M"])
    device = ", ".join(report.environment.get("gpus") or []) or f"{report.environment.get('cpu_threads')} CPU threads"
    rows.append(["device", device])
    return section("Speed and memory", html_table(["", ""], rows, texts=2))


def commands_section(report: RunReport, words: TaskWords) -> str:
    """As they would be typed here."""
    path, here = report.run_dir or report.ckpt, Path.cwd()
    if path is None:
        return ""
    where = shell_word(str(path.relative_to(here) if path.is_relative_to(here) else path))
    images = " images=<folder>"
    settings = {"evaluate": "", "predict": images, "explain": images, "export": " format=onnx", "serve": ""}
    if not words.explains:
        del settings["explain"]
    lines = [f"python -m src.{name} ckpt={where}{setting}" for name, setting in settings.items()]
    if report.run_dir is not None:
        lines.append(f"python -m src.train resume={where}")
    return section("Commands", f"<pre>{escape(chr(10).join(lines))}</pre>")


def environment_section(report: RunReport) -> str:
    facts = json.dumps(report.environment, indent=2, ensure_ascii=False)
    config = OmegaConf.to_yaml(OmegaConf.create(report.config))
    return section(
        "Settings and environment",
        f"<details><summary>All settings</summary><pre>{escape(config)}</pre></details>",
        f"<details><summary>Environment</summary><pre>{escape(facts)}</pre></details>",
    )
