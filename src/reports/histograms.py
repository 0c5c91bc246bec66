"""How often which value occurs, as bars."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.reports.axes import SOFT_BLUE, TEXT_PX, WHITE, Axes, ticks, whole_ticks
from src.reports.drawing import GREY, ORANGE, font

MOST_BARS = 40
FIRST, LAST = 0.5, 4096.0  # sides in pixels that a chart of sizes begins and ends with at most


def draw_sizes(sides_px: npt.NDArray[np.floating], marks_px: list[float], title: str, x_title: str) -> Image.Image:
    """Bars over a logarithmic axis, eight for each doubling at most; an upright line at each mark."""
    sides = np.clip(sides_px, FIRST, LAST)
    low, high = (round(math.log2(float(side)) + shift) for side, shift in ((sides.min(), -0.5), (sides.max(), 0.5)))
    low, high = min(low, 2), max(high, low + 1, 4)
    edges = 2.0 ** np.linspace(low, high, min(MOST_BARS, 8 * (high - low)) + 1)
    counts, _ = np.histogram(sides, edges)
    canvas, axes = empty_chart((float(edges[0]), float(edges[-1])), int(counts.max()), log_x=True)
    axes.frame(edges_of(low, high), ticks(0, float(counts.max()), 5), title, x_title)
    fill(axes, edges, counts)
    for mark in marks_px:
        (x, bottom), (_, top) = axes.at(mark, 0), axes.at(mark, axes.y[1])
        axes.draw.line((x, top, x, bottom), fill=ORANGE, width=3)
        axes.draw.text((x + 6, top + 6), f"{mark:g} px", ORANGE, font(TEXT_PX), anchor="lt")
    return canvas


def draw_counts(counts_N: npt.NDArray[np.int64], title: str, x_title: str) -> Image.Image:
    """A bar for each whole number, or for ranges of as many each."""
    most = int(counts_N.max())
    wide = -(-(most + 1) // MOST_BARS)
    edges = np.arange(0, most + wide + 1, wide) - 0.5
    counts, _ = np.histogram(counts_N, edges)
    canvas, axes = empty_chart((float(edges[0]), float(edges[-1])), int(counts.max()))
    axes.frame(whole_ticks(0, most, 12), ticks(0, float(counts.max()), 5), title, x_title)
    fill(axes, edges, counts)
    return canvas


def empty_chart(x: tuple[float, float], highest: int, log_x: bool = False) -> tuple[Image.Image, Axes]:
    canvas = Image.new("RGB", (1100, 520), WHITE)
    return canvas, Axes(canvas, 110, 60, 950, 340, x, (0, 1.08 * highest or 1.0), log_x)


def fill(axes: Axes, edges: npt.NDArray[np.floating], counts: npt.NDArray[np.integer]) -> None:
    for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
        axes.bar((left, right), float(count), SOFT_BLUE)
    axes.draw.rectangle((axes.left, axes.top, axes.left + axes.width, axes.top + axes.height), outline=GREY)


def edges_of(low: int, high: int) -> list[float]:
    """Powers of two."""
    return [2.0**power for power in range(low, high + 1)]
