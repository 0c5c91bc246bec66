"""A frame with two axes, in which charts are drawn, at twice the pixels that they are shown with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from src.reports.drawing import GREY, INK, LIGHT_GREY, font

Color = tuple[int, int, int]
SOFT_BLUE, WHITE = (158, 184, 217), (255, 255, 255)
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
    log_x: bool = False
    draw: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        self.draw = ImageDraw.Draw(self.canvas)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point; what lies outside is drawn at the frame's edge."""
        low, high, x = (math.log10(value) for value in (*self.x, x)) if self.log_x else (*self.x, x)
        across = min(max((x - low) / (high - low or 1), 0), 1)
        up = min(max((y - self.y[0]) / (self.y[1] - self.y[0] or 1), 0), 1)
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
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


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
