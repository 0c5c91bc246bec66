"""Charts of metrics as images, for pages and TensorBoard alike."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.reports.axes import TEXT_PX, WHITE, Axes, Color, padded, ticks, whole_ticks
from src.reports.drawing import DARK_BLUE, GREY, font, shortened

Floats = npt.NDArray[np.float64]
BLUE: Color = (int(DARK_BLUE[0]), int(DARK_BLUE[1]), int(DARK_BLUE[2]))
PALETTE: list[Color] = [(200, 80, 0), (46, 125, 50), (136, 84, 160), (176, 137, 0), (0, 131, 143), (173, 20, 87)]


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


def draw_precision_recall(curves: list[tuple[str, Floats, Floats]]) -> Image.Image:
    """Precision by recall, a line for each (name, recall, precision); the first one is drawn strongly."""
    canvas = Image.new("RGB", (1180, 620), WHITE)
    axes = Axes(canvas, 120, 70, 640, 440, (0, 1), (0, 1))
    fifths = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.frame(fifths, fifths, "precision", "recall")
    for index, (name, recall, precision) in reversed(list(enumerate(curves))):
        color = BLUE if not index else PALETTE[(index - 1) % len(PALETTE)]
        few = np.unique(np.linspace(0, len(recall) - 1, 400).astype(int))
        axes.line(recall[few].tolist(), precision[few].tolist(), color)
        if index < 13:
            axes.draw.text((790, 84 + 33 * index), shortened(name, 26), color, font(TEXT_PX), anchor="lm")
    return canvas
