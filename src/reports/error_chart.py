"""Predicted numbers by true ones, and how their errors spread."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.reports.axes import SOFT_BLUE, WHITE, Axes, padded, ticks
from src.reports.charts import BLUE
from src.reports.drawing import GREY, shortened

Floats = npt.NDArray[np.float64]


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
