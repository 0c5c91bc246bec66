"""The course of a learning rate range test as an image."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.reports.axes import TEXT_PX, WHITE, Axes, ticks
from src.reports.charts import BLUE
from src.reports.drawing import GREY, ORANGE, font

Floats = npt.NDArray[np.float64]


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
