"""Figures as images, drawn with Pillow: matplotlib would cost every start two seconds (see architecture.md)."""

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from src.evaluation.confusion import ConfusionCounts

if TYPE_CHECKING:
    from torch import Tensor

DARK_BLUE = np.array([8, 48, 107])
INK, GREY, LIGHT_GREY, ORANGE = (30, 30, 30), (110, 110, 110), (225, 225, 225), (200, 80, 0)
FontLike = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def font(size_px: int) -> FontLike:
    return ImageFont.load_default(size_px)


def shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def draw_confusions(confusions: ConfusionCounts, class_names: list[str]) -> Image.Image:
    """`draw_confusion_matrix`, in which neighbouring classes share a row and a column if there are very many."""
    classes = len(class_names)
    together = -(-classes // MOST_ROWS)
    shown = confusions.renumbered(np.arange(classes) // together, -(-classes // together))
    right = int(confusions.right_counts.sum())
    return draw_confusion_matrix(shown.matrix(), class_names[::together], right)


MOST_ROWS = 1000


def draw_confusion_matrix(
    matrix_KK: npt.NDArray[np.int64], class_names: list[str], right: int | None = None
) -> Image.Image:
    """Rows: true class, columns: predicted class. Colour: share of the row; numbers: images (up to 30 classes).

    `right`: right answers; None = those on the diagonal.
    """
    classes = len(class_names)
    cell = max(46, 260 // classes) if classes <= 30 else max(900 // classes, 4)
    names = [shortened(name, 20) for name in class_names] if classes <= 60 else [""] * classes
    text_px = 17 if classes <= 30 else min(cell, 13)
    margin = 46 + round(max(font(text_px).getlength(name) for name in names))
    side = cell * classes
    canvas = Image.new("RGB", (margin + side + 24, 44 + side + margin), "white")
    draw = ImageDraw.Draw(canvas)
    right, total = int(np.trace(matrix_KK)) if right is None else right, int(matrix_KK.sum())
    title = f"{right:,} of {total:,} right ({right / max(total, 1):.1%})"
    draw.text((margin + side / 2, 22), title, INK, font(19), anchor="mm")

    share_KK = matrix_KK / np.maximum(matrix_KK.sum(axis=1, keepdims=True), 1)
    pixels_KK3 = (255 + (DARK_BLUE - 255) * share_KK[..., None]).astype(np.uint8)
    cells = Image.fromarray(pixels_KK3).resize((side, side), Image.Resampling.NEAREST)
    canvas.paste(cells, (margin, 44))
    draw.rectangle((margin, 44, margin + side, 44 + side), outline=GREY)
    if classes <= 30:
        for row, column in zip(*np.nonzero(matrix_KK), strict=True):
            color = "white" if share_KK[row, column] > 0.5 else INK
            middle = (margin + (column + 0.5) * cell, 44 + (row + 0.5) * cell)
            draw.text(middle, str(matrix_KK[row, column]), color, font(15), anchor="mm")

    for index, name in enumerate(names):
        middle_px = (index + 0.5) * cell
        draw.text((margin - 8, 44 + middle_px), name, INK, font(text_px), anchor="rm")
        upright = len(max(names, key=len)) <= 3
        at = (margin + middle_px, 44 + side + 8)
        if upright:
            draw.text(at, name, INK, font(text_px), anchor="mt")
        else:
            paste_turned(canvas, name, font(text_px), at)
    draw.text((margin + side / 2, canvas.height - 14), "predicted", GREY, font(16), anchor="mm")
    paste_turned(canvas, "true", font(16), (14, 44 + side / 2 - 18), color=GREY)
    return canvas


def paste_turned(
    canvas: Image.Image, text: str, of_font: FontLike, at: tuple[float, float], color: tuple[int, int, int] = INK
) -> None:
    """Text that reads upwards and ends, at its top, below `at`."""
    left, top, right, bottom = of_font.getbbox(text or " ")
    strip = Image.new("L", (round(right - left) + 4, round(bottom - top) + 4))
    ImageDraw.Draw(strip).text((2 - left, 2 - top), text, 255, of_font)
    turned = strip.rotate(90, expand=True)
    canvas.paste(color, (round(at[0] - turned.width / 2), round(at[1])), turned)


def draw_images(images_BCHW: "Tensor | list[Tensor]", labels: list[str], columns: int = 8) -> Image.Image:
    """Images uint8 [B, 3, H, W] in a grid, each under its label."""
    side, line = 140, 24
    rows = -(-len(labels) // columns)
    canvas = Image.new("RGB", (columns * (side + 8) + 8, rows * (side + line + 8) + 8), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (image_CHW, label) in enumerate(zip(images_BCHW, labels, strict=False)):
        left, top = 8 + index % columns * (side + 8), 8 + index // columns * (side + line + 8)
        draw.text((left + side / 2, top + line / 2), shortened(label, 18), INK, font(15), anchor="mm")
        image = Image.fromarray(image_CHW.permute(1, 2, 0).numpy())
        canvas.paste(image.resize((side, side), Image.Resampling.BILINEAR), (left, top + line))
    return canvas


def draw_range_test(
    rates_N: npt.NDArray[np.float64],
    losses_N: npt.NDArray[np.float64],
    smoothed_N: npt.NDArray[np.float64],
    given: float,
    found: float | None,
    title: str,
) -> Image.Image:
    """Loss by learning rate, on a logarithmic axis: each step a dot, their smoothed course a line.

    Lines upright: the rate that was `given`, and the one `found`, if there is one. What lies far above the beginning is
    drawn at the upper edge.
    """
    left, top, width, height = 80, 64, 780, 400
    canvas = Image.new("RGB", (left + width + 40, top + height + 66), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((left, 24), title, INK, font(17), anchor="lm")
    decades = (math.floor(math.log10(min(rates_N[0], given))), math.ceil(math.log10(max(rates_N[-1], given))))
    lowest, highest = min(losses_N.min(), 0.0), 1.5 * smoothed_N[: len(smoothed_N) // 4 + 1].max()

    def at(rate: float, loss: float) -> tuple[float, float]:
        x = left + width * (math.log10(rate) - decades[0]) / (decades[1] - decades[0])
        share = (min(loss, highest) - lowest) / max(highest - lowest, 1e-12)
        return x, top + height * (1 - share)

    for exponent in range(decades[0], decades[1] + 1):
        for step in range(1, 10 if exponent < decades[1] else 2):
            x, _ = at(step * 10.0**exponent, 0.0)
            draw.line((x, top + height, x, top + height + (8 if step == 1 else 4)), fill=GREY)
        x, _ = at(10.0**exponent, 0.0)
        draw.line((x, top, x, top + height), fill=LIGHT_GREY)
        draw.text((x, top + height + 12), f"1e{exponent}", INK, font(15), anchor="mt")
    spacing = 10.0 ** math.floor(math.log10(max(highest - lowest, 1e-12)))
    spacing *= next(part for part in (0.1, 0.2, 0.5, 1.0, 2.0) if (highest - lowest) / (part * spacing) <= 8)
    for number in range(math.ceil(lowest / spacing), math.floor(highest / spacing) + 1):
        _, y = at(1.0, number * spacing)
        draw.line((left, y, left + width, y), fill=LIGHT_GREY)
        draw.text((left - 8, y), f"{number * spacing:.3g}", INK, font(15), anchor="rm")
    draw.rectangle((left, top, left + width, top + height), outline=GREY)

    x, _ = at(given, 0.0)
    draw.line((x, top, x, top + height), fill=GREY, width=2)
    aside = -6 if found is not None and found > given else 6  # away from the other line
    draw.text((x + aside, top + height - 8), f"given {given:.2g}", GREY, font(15), anchor="rs" if aside < 0 else "ls")
    if found is not None:
        x, _ = at(found, 0.0)
        draw.line((x, top, x, top + height), fill=ORANGE, width=2)
        draw.text((x, top - 4), f"found {found:.2g}", ORANGE, font(15), anchor="mb")
    for rate, loss in zip(rates_N, losses_N, strict=True):
        x, y = at(rate, loss)
        draw.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=(150, 150, 150))
    points = [at(rate, loss) for rate, loss in zip(rates_N, smoothed_N, strict=True)]
    draw.line(points, fill=tuple(DARK_BLUE.tolist()), width=3, joint="curve")
    draw.text((left + width / 2, canvas.height - 16), "learning rate of the step", GREY, font(16), anchor="mm")
    paste_turned(canvas, "loss of the batch, and smoothed", font(16), (18, top + 90), color=GREY)
    return canvas


# Dark blue, blue, green, yellow: of rising lightness, so that it reads in grey and to the colour-blind as well.
HEAT_COLORS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float32)


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


def fitted(text: str, width_px: int, of_font: FontLike) -> str:
    """The text, cut where it is too wide."""
    while of_font.getlength(text) > width_px and len(text) > 1:
        text = f"{text[:-2]}…"
    return text
