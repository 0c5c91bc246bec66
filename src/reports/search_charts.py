"""Charts of a search: its best value trial by trial, and the trials' values against each setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from src.reports.axes import TEXT_PX, WHITE, Axes, Color, padded, ticks, whole_ticks
from src.reports.charts import BLUE
from src.reports.drawing import INK, ORANGE, font, shortened

FADED: Color = (170, 170, 170)
PANEL_PX, COLUMNS = (620, 380), 2  # of a setting's frame; panels side by side


@dataclass(frozen=True)
class TrialPoint:
    """`value`: not-a-number where there is none. `whole`: whether it was trained to its end; `values`: by setting."""

    number: int
    value: float
    whole: bool
    values: dict[str, str]


def draw_history(points: Sequence[TrialPoint], metric: str, higher_is_better: bool) -> Image.Image:
    """Each trial's value, those that ended early in grey, and the best whole one until then."""
    numbers = [point.number for point in points]
    canvas = Image.new("RGB", (1500, 640), WHITE)
    x = (min(numbers) - 0.5, max(numbers) + 0.5)
    y = padded([point.value for point in points])
    axes = Axes(canvas, 130, 70, 1330, 460, x, y)
    axes.frame(whole_ticks(min(numbers), max(numbers), 14), ticks(*y, 6), metric, "trial")
    best, course = math.nan, list[float]()
    for point in points:
        if point.whole and not (point.value <= best if higher_is_better else point.value >= best):
            best = point.value
        course.append(best)
    axes.line([float(number) for number in numbers], course, ORANGE)
    draw_points(axes, [(float(point.number), point) for point in points])
    axes.legend([("trained to the end", BLUE), ("ended early", FADED), ("best so far", ORANGE)])
    return canvas


def draw_settings(points: Sequence[TrialPoint], settings: dict[str, bool | None], metric: str) -> Image.Image:
    """A panel per setting: value against the setting. By name: whether on a logarithmic scale; None = words."""
    width, height = PANEL_PX
    rows = -(-len(settings) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * (width + 150) + 20, rows * (height + 170) + 20), WHITE)
    y = padded([point.value for point in points])
    for index, (name, log) in enumerate(settings.items()):
        left, top = 130 + index % COLUMNS * (width + 150), 60 + index // COLUMNS * (height + 170)
        words = list(dict.fromkeys(point.values[name] for point in points)) if log is None else []
        places = [words.index(p.values[name]) if words else float(p.values[name]) for p in points]
        span = (-0.5, len(words) - 0.5) if words else spanned(places, bool(log))
        axes = Axes(canvas, left, top, width, height, span, y, log_x=bool(log))
        x_ticks = [] if words else decades(*span) if log else ticks(*span, 6)
        axes.frame(x_ticks, ticks(*y, 6), metric, shortened(name, 40))
        for place, word in enumerate(words):
            longest = max(3, round(width / len(words) / 14))
            at = (axes.at(place, y[0])[0], top + height + 14)
            axes.draw.text(at, shortened(word, longest), INK, font(TEXT_PX), anchor="ma")
        draw_points(axes, list(zip(map(float, places), points, strict=True)))
    return canvas


def draw_points(axes: Axes, points: Sequence[tuple[float, TrialPoint]]) -> None:
    """Whole trials over those that ended early."""
    for x, point in sorted(points, key=lambda pair: pair[1].whole):
        if math.isfinite(point.value):
            axes.dot(axes.at(x, point.value), 8 if point.whole else 6, BLUE if point.whole else FADED)


def spanned(values: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if log:
        return low / 1.3, high * 1.3
    return padded([low, high]) if high > low else (low - 0.5, low + 0.5)


def decades(low: float, high: float) -> list[float]:
    """Powers of ten within; 2 and 5 times these too, where there are few."""
    powers = [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    factors = (1, 2, 5) if math.log10(high / low) < 2 else (1,)
    return [factor * power for power in powers for factor in factors if low <= factor * power <= high]
