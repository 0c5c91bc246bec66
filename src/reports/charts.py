"""Charts as images, for the report page and TensorBoard alike, at twice the pixels that they are shown with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from src.evaluation.calibration import Floats, Reliability
from src.reports.drawing import DARK_BLUE, GREY, INK, LIGHT_GREY, ORANGE, font, paste_turned, shortened

Color = tuple[int, int, int]
BLUE: Color = (int(DARK_BLUE[0]), int(DARK_BLUE[1]), int(DARK_BLUE[2]))
SOFT_BLUE, SOFT_ORANGE, WHITE = (158, 184, 217), (243, 204, 170), (255, 255, 255)
TEXT_PX, LINE_PX = 24, 4


@dataclass
class Axes:
    """A frame with two axes on a canvas; x and y are (lowest, highest) in the data's units.

    `left`, `top`, `width`, `height`: of the frame, in pixels.
    """

    canvas: Image.Image
    left: int
    top: int
    width: int
    height: int
    x: tuple[float, float]
    y: tuple[float, float]
    log_y: bool = False
    draw: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        self.draw = ImageDraw.Draw(self.canvas)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point; what lies outside is drawn at the frame's edge."""
        low, high = (math.log10(value) for value in self.y) if self.log_y else self.y
        y = math.log10(max(y, 1e-300)) if self.log_y else y
        across = min(max((x - self.x[0]) / (self.x[1] - self.x[0] or 1), 0), 1)
        up = min(max((y - low) / (high - low or 1), 0), 1)
        return self.left + self.width * across, self.top + self.height * (1 - up)

    def frame(self, x_ticks: Sequence[float], y_ticks: Sequence[float], title: str, x_title: str = "") -> None:
        for tick in y_ticks:
            _, y = self.at(self.x[0], tick)
            self.draw.line((self.left, y, self.left + self.width, y), fill=LIGHT_GREY, width=2)
            self.draw.text((self.left - 12, y), number(tick), INK, font(TEXT_PX), anchor="rm")
        for tick in x_ticks:
            x, _ = self.at(tick, self.y[0])
            self.draw.line((x, self.top + self.height, x, self.top + self.height + 8), fill=GREY, width=2)
            self.draw.text((x, self.top + self.height + 14), number(tick), INK, font(TEXT_PX), anchor="mt")
        self.draw.rectangle((self.left, self.top, self.left + self.width, self.top + self.height), outline=GREY)
        self.draw.text((self.left, self.top - 14), title, INK, font(TEXT_PX), anchor="ls")
        if x_title:
            middle = (self.left + self.width / 2, self.top + self.height + 48)
            self.draw.text(middle, x_title, GREY, font(TEXT_PX), anchor="mt")

    def line(self, xs: Sequence[float], ys: Sequence[float], color: Color, dots: bool = False) -> None:
        """Through the points in their order; not-a-number leaves a gap."""
        part: list[tuple[float, float]] = []
        for x, y in [*zip(xs, ys, strict=True), (math.nan, math.nan)]:
            if math.isfinite(x) and math.isfinite(y):
                part.append(self.at(x, y))
                continue
            if len(part) > 1:
                self.draw.line(part, fill=color, width=LINE_PX, joint="curve")
            if dots or len(part) == 1:
                for point in part:
                    self.dot(point, 5, color)
            part = []

    def dot(self, at: tuple[float, float], radius_px: float, color: Color) -> None:
        self.draw.ellipse((at[0] - radius_px, at[1] - radius_px, at[0] + radius_px, at[1] + radius_px), fill=color)

    def bar(self, x: tuple[float, float], y: float, fill: Color) -> None:
        (left, top), (right, bottom) = self.at(x[0], y), self.at(x[1], max(self.y[0], 0.0))
        if top < bottom:
            self.draw.rectangle((left + 2, top, right - 2, bottom), fill=fill)

    def legend(self, names: Sequence[tuple[str, Color]]) -> None:
        """Above the frame, at its right end."""
        right = float(self.left + self.width)
        for name, color in reversed(names):
            self.draw.text((right, self.top - 14), name, color, font(TEXT_PX), anchor="rs")
            right -= font(TEXT_PX).getlength(name) + 28


def number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}"


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers within the range."""
    span = max(high - low, 1e-12)
    power = 10.0 ** math.floor(math.log10(span))
    spacing = next(p * power for p in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if span / (p * power) <= most)
    first, last = math.ceil(low / spacing - 1e-9), math.floor(high / spacing + 1e-9)
    return [n * spacing for n in range(first, last + 1)]


def whole_ticks(low: int, high: int, most: int) -> list[float]:
    return [tick for tick in ticks(low, high, most) if abs(tick - round(tick)) < 1e-9]


def padded(values: Sequence[float]) -> tuple[float, float]:
    """A range with a little air around the finite ones of these values."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    air = 0.06 * (max(finite) - min(finite)) or 0.05 * abs(max(finite)) or 1.0
    return min(finite) - air, max(finite) + air


# ------------------------------------------------------------------------------------------------------ learning curves


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
    panels: list[tuple[str, list[Curve], bool]] = [
        ("loss", losses, False),
        (scores[0].name.partition("/")[2] if scores else "metric", scores, False),
        ("learning rate", [Curve("", rates, BLUE)], False),
    ]
    top = 90
    for height, (title, curves, log_y) in zip(heights, panels, strict=True):
        y = padded([value for curve in curves for value in curve.values])
        if title in ("loss", "learning rate"):
            y = (min(0.0, y[0] if title == "loss" and y[0] < 0 else 0.0), y[1])
        axes = Axes(canvas, left, top, width, height, x, y, log_y)
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


# ---------------------------------------------------------------------------------------------------------- calibration


def draw_reliability(before: Reliability, after: Reliability) -> Image.Image:
    """How often answers of about the same confidence are right: left as trained, right with the temperature."""
    side, left, top = 520, 110, 70
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


# ----------------------------------------------------------------------------------------- several classes, numbers


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


PALETTE: list[Color] = [(200, 80, 0), (46, 125, 50), (136, 84, 160), (176, 137, 0), (0, 131, 143), (173, 20, 87)]


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
    errors_N: npt.NDArray[np.float64] = values_N - labels_N
    widest = float(np.abs(errors_N).max()) or 1.0
    counts, edges = np.histogram(errors_N, bins=31, range=(-widest, widest))
    right = Axes(canvas, 800, 70, 560, 460, (-widest, widest), (0, 1.05 * float(counts.max())))
    right.frame(ticks(-widest, widest, 5), ticks(0, float(counts.max()), 5), "images", "predicted minus true")
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        right.bar((float(low), float(high)), float(count), SOFT_BLUE)
    at = right.at(0, 0)
    right.draw.line((at[0], right.top, at[0], right.top + right.height), fill=GREY, width=2)
    return canvas
