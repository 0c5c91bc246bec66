"""Heat maps over images, and the page of src.explain, which shows its files and runs no script."""

from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from src.reports.drawing import INK, fitted, font
from src.reports.parts import write_document

# Dark blue, blue, green, yellow: of rising lightness, so that it reads in grey and to the colour-blind as well.
HEAT_COLORS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float32)
NOTE = (
    "Left the image as the network sees it, with the prediction; right where it speaks for the class named there: "
    "yellow the most in this image, dark violet not at all. Each map has a scale of its own. A map says where, in "
    "coarse squares, and neither why nor whether the answer is right (docs/explain.md)."
)


def draw_explanation(
    pixels_HW3: npt.NDArray[np.uint8], heat_HW: npt.NDArray[np.float32], left_title: str, right_title: str
) -> Image.Image:
    """The image as the network sees it, beside itself under a heat map 0..1, in colours of viridis."""
    side, line = max(224, len(pixels_HW3)), 30
    laid_over = heat_over(pixels_HW3, heat_HW)
    canvas = Image.new("RGB", (2 * side + 24, side + line + 8), "white")
    draw = ImageDraw.Draw(canvas)
    resampling = Image.Resampling.NEAREST if len(pixels_HW3) < 100 else Image.Resampling.BILINEAR
    for left, title, image in ((8, left_title, Image.fromarray(pixels_HW3)), (side + 16, right_title, laid_over)):
        draw.text((left + side / 2, line / 2), fitted(title, side, font(16)), INK, font(16), anchor="mm")
        canvas.paste(image.resize((side, side), resampling), (left, line))
    return canvas


def heat_over(pixels_HW3: npt.NDArray[np.uint8], heat_HW: npt.NDArray[np.float32]) -> Image.Image:
    """A heat map 0..1, in colours of viridis, over the image in grey, so that all colour is the map's."""
    places = np.linspace(0, 1, len(HEAT_COLORS))
    colors_HW3 = np.stack([np.interp(heat_HW, places, HEAT_COLORS[:, c]) for c in range(3)], axis=-1)
    grey_HW1 = pixels_HW3.mean(axis=-1, keepdims=True)
    return Image.fromarray((0.45 * grey_HW1 + 0.55 * colors_HW3).astype(np.uint8))


def write_page(path: Path, rows: list[dict[str, str]]) -> None:
    """`rows` as in explanations.csv; the images are the files beside the page."""
    cards = f'<ul class="cards maps">{"".join(map(card, rows))}</ul>'
    parts = ["<h1>Explanations</h1>", f"<p>{escape(NOTE)}</p>", cards]
    write_document(path, "Explanations", parts, images="'self' file:")


def card(row: dict[str, str]) -> str:
    if "error" in row:
        return f'<li class="card">{escape(row["path"])}<br><span class="error">{escape(row["error"])}</span></li>'
    alt = escape(f"Predicted {row['prediction']}; map for {row['explained']}")
    return f'<li class="card"><img loading="lazy" src="{escape(row["file"])}" alt="{alt}">{escape(row["path"])}</li>'
