"""Charts of how far probabilities can be believed, and what abstaining gives."""

import math

import numpy as np
from PIL import Image, ImageDraw

from src.evaluation.calibration import Floats, Reliability
from src.reports.axes import SOFT_BLUE, TEXT_PX, WHITE, Axes, ticks
from src.reports.charts import BLUE
from src.reports.drawing import GREY, ORANGE, font, paste_turned


def draw_reliability(before: Reliability, after: Reliability) -> Image.Image:
    """How often answers of about the same confidence are right: left as trained, right with the temperature."""
    side, left, top = 520, 110, 96
    canvas = Image.new("RGB", (2 * (side + left) + 50, top + side + 260), WHITE)
    edges = np.linspace(0, 1, len(before.counts) + 1)
    for index, (title, bins) in enumerate((("as trained", before), ("calibrated", after))):
        axes = Axes(canvas, left + index * (side + left), top, side, side, (0, 1), (0, 1))
        fifths = [0, 0.2, 0.4, 0.6, 0.8, 1]
        axes.frame(fifths, fifths, f"{title}: error {bins.expected_error:.3f}", "")
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
    axes.frame([0, 0.2, 0.4, 0.6, 0.8, 1], ticks(low, 1.0, 6), "accuracy of the answers given", "share answered")
    axes.line(coverage_N[few].tolist(), accuracy_N[few].tolist(), BLUE)
    return canvas
