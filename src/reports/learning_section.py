"""Loss, metric and learning rate by epoch."""

import math
from html import escape

from src.reports.charts import BLUE, Curve, draw_learning_curves
from src.reports.drawing import ORANGE
from src.reports.parts import section
from src.reports.run_report import RunReport, number_text


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
    return section(
        "Learning curves", note, report.figure("report/learning_curves", image, "Loss, metric and rate by epoch")
    )


def phase_spans(report: RunReport) -> list[tuple[int, int, str]]:
    """(first epoch, last epoch, what trains) of each phase."""
    plan = report.config["freeze"]["phases"]
    spans = []
    for index, phase in enumerate(plan, start=1):
        epochs = [int(row["epoch"]) for row in report.epochs if row.get("phase") == str(index)]
        if epochs:
            spans.append((epochs[0], epochs[-1], f"trains {phase['train']}"))
    return spans
