"""Charts as images, for pages and loggers alike: metrics by epoch, precision, errors, calibration, range test."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from src.evaluation.calibration import Floats, Reliability
from src.reports.axes import SOFT_BLUE, TEXT_PX, WHITE, Axes, Color, padded, ticks, whole_ticks
from src.reports.drawing import DARK_BLUE, GREY, ORANGE, font, paste_turned, shortened

BLUE: Color = (int(DARK_BLUE[0]), int(DARK_BLUE[1]), int(DARK_BLUE[2]))
PALETTE: list[Color] = [(200, 80, 0), (46, 125, 50), (136, 84, 160), (176, 137, 0), (0, 131, 143), (173, 20, 87)]
FIFTHS = [0, 0.2, 0.4, 0.6, 0.8, 1]


@dataclass(frozen=True)
class Curve:
    """One value per epoch; not-a-number where there is none."""

    name: str
    values: list[float]
    color: Color


def draw_learning_curves(
    epochs: list[int], losses: list[Curve], scores: list[Curve], rates: list[float], phases: list[tuple[int, int, str]]
) -> Image.Image:
    """Loss, monitored metric and learning rate by epoch, one above the other; phases are (first, last epoch, name)."""
    left, width, gap = 130, 1230, 110
    heights = [340, 340, 190]
    canvas = Image.new("RGB", (left + width + 40, 90 + sum(heights) + gap * 3 - 20), WHITE)
    x = (min(epochs) - 0.5, max(epochs) + 0.5)
    panels = [
        ("loss", losses),
        (scores[0].name.partition("/")[2] if scores else "metric", scores),
        ("learning rate", [Curve("", rates, BLUE)]),
    ]
    top = 90
    for height, (title, curves) in zip(heights, panels, strict=True):
        y = padded([value for curve in curves for value in curve.values])
        if title in ("loss", "learning rate"):
            y = (min(0.0, y[0] if title == "loss" and y[0] < 0 else 0.0), y[1])
        axes = Axes(canvas, left, top, width, height, x, y)
        for index, (first, last, _) in enumerate(phases):
            if index % 2:
                corners = (*axes.at(first - 0.5, y[1]), *axes.at(last + 0.5, y[0]))
                axes.draw.rectangle(corners, fill=(244, 246, 250))
        axes.frame(whole_ticks(min(epochs), max(epochs), 14), ticks(*y, 5), title, "epoch" if top > 800 else "")
        for first, _, name in phases if len(phases) > 1 else ():
            at = axes.at(first - 0.5, y[1])
            axes.draw.line((at[0], at[1], at[0], top + height), fill=GREY, width=2)
            if top == 90:
                axes.draw.text((at[0] + 4, 14), shortened(name, 24), GREY, font(TEXT_PX), anchor="lt")
        for curve in curves:
            axes.line([float(epoch) for epoch in epochs], curve.values, curve.color, dots=len(epochs) < 30)
        axes.legend([(curve.name, curve.color) for curve in curves if curve.name])
        top += height + gap
    return canvas


def draw_curves(name: str, curves: list[Curve]) -> Image.Image:
    """The same metric of several runs by epoch; their names stand beside the frame."""
    longest = max(len(curve.values) for curve in curves)
    y = padded([value for curve in curves for value in curve.values])
    canvas = Image.new("RGB", (1500, max(560, 130 + 34 * len(curves))), WHITE)
    axes = Axes(canvas, 120, 60, 900, 400, (0.5, longest + 0.5), y)
    axes.frame(whole_ticks(1, longest, 12), ticks(*y, 6), name, "epoch")
    for index, curve in enumerate(curves):
        epochs = [float(epoch) for epoch in range(1, len(curve.values) + 1)]
        axes.line(epochs, curve.values, curve.color, dots=longest < 30)
        text = (1050, 74 + 34 * index)
        axes.draw.text(text, shortened(curve.name, 34), curve.color, font(TEXT_PX), anchor="lm")
    return canvas


def draw_precision_recall(
    curves: list[tuple[str, Floats, Floats]], points: Mapping[str, tuple[float, float]] = {}
) -> Image.Image:
    """Precision by recall, a line for each (name, recall, precision); the first one is drawn strongly.

    `points`: (recall, precision) by name, where thresholds lie.
    """
    canvas = Image.new("RGB", (1180, 620), WHITE)
    axes = Axes(canvas, 120, 70, 640, 440, (0, 1), (0, 1))
    axes.frame(FIFTHS, FIFTHS, "precision", "recall")
    for index, (name, recall, precision) in reversed(list(enumerate(curves))):
        color = BLUE if not index else PALETTE[(index - 1) % len(PALETTE)]
        few = np.unique(np.linspace(0, len(recall) - 1, 400).astype(int))
        axes.line(recall[few].tolist(), precision[few].tolist(), color)
        if name in points:
            axes.dot(axes.at(*points[name]), 9, color)
        if index < 13:
            axes.draw.text((790, 84 + 33 * index), shortened(name, 26), color, font(TEXT_PX), anchor="lm")
    return canvas


def draw_errors(labels_N: Floats, values_N: Floats, name: str) -> Image.Image:
    """Left predicted numbers by true ones, right how often which error occurs."""
    canvas = Image.new("RGB", (1400, 640), WHITE)
    span = padded([*labels_N.tolist(), *values_N.tolist()])
    axes = Axes(canvas, 130, 70, 500, 460, span, span)
    axes.frame(ticks(*span, 5), ticks(*span, 5), f"{shortened(name, 20)}: predicted", "true")
    axes.draw.line((*axes.at(span[0], span[0]), *axes.at(span[1], span[1])), fill=GREY, width=2)
    generator = np.random.default_rng(0)
    chosen = np.arange(len(labels_N)) if len(labels_N) <= 4000 else generator.choice(len(labels_N), 4000, False)
    for n in chosen.tolist():
        axes.dot(axes.at(labels_N[n], values_N[n]), 4, BLUE)
    errors_N: Floats = values_N - labels_N
    widest = float(np.abs(errors_N).max()) or 1.0
    counts, edges = np.histogram(errors_N, bins=31, range=(-widest, widest))
    right = Axes(canvas, 800, 70, 560, 460, (-widest, widest), (0, 1.05 * float(counts.max())))
    right.frame(ticks(-widest, widest, 5), ticks(0, float(counts.max()), 5), "images", "predicted minus true")
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        right.bar((float(low), float(high)), float(count), SOFT_BLUE)
    at = right.at(0, 0)
    right.draw.line((at[0], right.top, at[0], right.top + right.height), fill=GREY, width=2)
    return canvas


def draw_reliability(before: Reliability, after: Reliability) -> Image.Image:
    """How often answers of about the same confidence are right: left as trained, right with the temperature."""
    side, left, top = 520, 110, 96
    canvas = Image.new("RGB", (2 * (side + left) + 50, top + side + 260), WHITE)
    edges = np.linspace(0, 1, len(before.counts) + 1)
    for index, (title, bins) in enumerate((("as trained", before), ("calibrated", after))):
        axes = Axes(canvas, left + index * (side + left), top, side, side, (0, 1), (0, 1))
        axes.frame(FIFTHS, FIFTHS, f"{title}: error {bins.expected_error:.3f}", "")
        for n, count in enumerate(bins.counts):
            if count:
                span = (float(edges[n]), float(edges[n + 1]))
                axes.bar(span, float(bins.share_right[n]), SOFT_BLUE)
                (x_left, y), (x_right, _) = axes.at(span[0], bins.confidence[n]), axes.at(span[1], 0)
                axes.draw.line((x_left + 4, y, x_right - 4, y), fill=ORANGE, width=6)
        axes.draw.line((*axes.at(0, 0), *axes.at(1, 1)), fill=GREY, width=2)
        below = Axes(canvas, axes.left, top + side + 60, side, 110, (0, 1), (0, float(max(bins.counts.max(), 1))))
        below.frame([], [float(bins.counts.max())], "", "confidence")
        for n, count in enumerate(bins.counts):
            below.bar((float(edges[n]), float(edges[n + 1])), float(count), SOFT_BLUE)
    draw = ImageDraw.Draw(canvas)
    draw.text((left, 8), "bars: share that is right", (90, 120, 165), font(TEXT_PX), anchor="lt")
    draw.text((left + 300, 8), "lines: mean confidence", ORANGE, font(TEXT_PX), anchor="lt")
    paste_turned(canvas, "answers", font(TEXT_PX), (18, top + side + 60))
    return canvas


def draw_coverage(coverage_N: Floats, accuracy_N: Floats) -> Image.Image:
    """Share of right answers among the surest ones, by how many of all images these are."""
    few = np.unique(np.linspace(0, len(coverage_N) - 1, 400).astype(int))
    low = max(0.0, math.floor(20 * float(accuracy_N[len(accuracy_N) // 20 :].min()) - 1) / 20)
    canvas = Image.new("RGB", (900, 620), WHITE)
    axes = Axes(canvas, 120, 70, 740, 440, (0, 1), (low, 1.0))
    axes.frame(FIFTHS, ticks(low, 1.0, 6), "accuracy of the answers given", "share answered")
    axes.line(coverage_N[few].tolist(), accuracy_N[few].tolist(), BLUE)
    return canvas


def draw_range_test(
    rates_N: Floats, losses_N: Floats, smoothed_N: Floats, given: float, found: float | None, title: str
) -> Image.Image:
    """Loss by learning rate, on a logarithmic axis: each step a dot, their smoothed course a line.

    Lines upright: the rate that was `given`, and the one `found`, if there is one. What lies far above the beginning is
    drawn at the upper edge.
    """
    decades = (math.floor(math.log10(min(rates_N[0], given))), math.ceil(math.log10(max(rates_N[-1], given))))
    span = min(losses_N.min(), 0.0), 1.5 * smoothed_N[: len(smoothed_N) // 4 + 1].max()
    canvas = Image.new("RGB", (1500, 760), WHITE)
    axes = Axes(canvas, 120, 110, 1340, 520, (10.0 ** decades[0], 10.0 ** decades[1]), span, log_x=True)
    powers = [10.0**exponent for exponent in range(decades[0], decades[1] + 1)]
    axes.frame(powers, ticks(*span, 8), "loss of the batch, and smoothed", "learning rate of the step")
    axes.draw.text((120, 30), title, GREY, font(TEXT_PX), anchor="lm")
    for rate, text, color in ((given, "given", GREY), (found, "found", ORANGE)):
        if rate is not None:
            (x, bottom), (_, top) = axes.at(rate, span[0]), axes.at(rate, span[1])
            axes.draw.line((x, top, x, bottom), fill=color, width=3)
            left = rate < (given if text == "found" else found or 0)  # of the other line
            at = (x - 8 if left else x + 8, top + 10)
            axes.draw.text(at, f"{text} {rate:.2g}", color, font(TEXT_PX), anchor="rt" if left else "lt")
    for rate, loss in zip(rates_N.tolist(), losses_N.tolist(), strict=True):
        axes.dot(axes.at(rate, loss), 4, (150, 150, 150))
    axes.line(rates_N.tolist(), smoothed_N.tolist(), BLUE)
    return canvas
