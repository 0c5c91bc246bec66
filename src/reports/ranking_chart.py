"""A score with its interval for each candidate, best at the top."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from src.reports.axes import TEXT_PX, WHITE, Axes, padded, ticks
from src.reports.charts import BLUE
from src.reports.drawing import GREY, INK, LIGHT_GREY, fitted, font

NAME_PX, ROW_PX = 470, 52


class Bar(NamedTuple):
    """`worse`: than the first one, by more than chance. `first`: whose interval the others are seen against."""

    name: str
    score: float
    interval: tuple[float, float]
    worse: bool
    first: bool


def draw_ranking(bars: Sequence[Bar], metric: str) -> Image.Image:
    """Dots with lines from low to high; those that cannot be told apart from the first one are blue, others grey."""
    height = ROW_PX * len(bars)
    canvas = Image.new("RGB", (1400, height + 170), WHITE)
    x = padded([value for bar in bars for value in (bar.score, *bar.interval)])
    axes = Axes(canvas, NAME_PX + 20, 60, 1400 - NAME_PX - 60, height, x, (0, len(bars)))
    axes.frame(ticks(*x, 8), [], "", metric)
    for number, bar in enumerate(bars):
        color = GREY if bar.worse else BLUE
        (left, y), (right, _), at = (axes.at(value, len(bars) - number - 0.5) for value in (*bar.interval, bar.score))
        if bar.first:
            axes.draw.line((at[0], axes.top, at[0], axes.top + height), fill=LIGHT_GREY, width=3)
        axes.draw.line((left, y, right, y), fill=color, width=4)
        for end in (left, right):
            axes.draw.line((end, y - 8, end, y + 8), fill=color, width=4)
        axes.dot(at, 9, color)
        text = fitted(bar.name, NAME_PX, font(TEXT_PX))
        axes.draw.text((NAME_PX, y), text, GREY if bar.worse else INK, font(TEXT_PX), anchor="rm")
    return canvas
