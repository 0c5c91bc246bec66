"""Figures as pictures, drawn with Pillow: matplotlib would cost every start two seconds (see architecture.md)."""

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

DARK_BLUE = np.array([8, 48, 107])
INK, GREY = (30, 30, 30), (110, 110, 110)
FontLike = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def font(size_px: int) -> FontLike:
    return ImageFont.load_default(size_px)


def shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def draw_confusion_matrix(matrix_KK: npt.NDArray[np.int64], class_names: list[str]) -> Image.Image:
    """Rows: true class, columns: predicted class. Colour: share of the row; numbers: pictures (up to 30 classes)."""
    classes = len(class_names)
    cell = max(46, 260 // classes) if classes <= 30 else max(900 // classes, 4)
    names = [shortened(name, 20) for name in class_names] if classes <= 60 else [""] * classes
    text_px = 17 if classes <= 30 else min(cell, 13)
    margin = 46 + round(max(font(text_px).getlength(name) for name in names))
    side = cell * classes
    canvas = Image.new("RGB", (margin + side + 24, 44 + side + margin), "white")
    draw = ImageDraw.Draw(canvas)
    right, total = int(np.trace(matrix_KK)), int(matrix_KK.sum())
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


def draw_images(images_BCHW: Tensor, labels: list[str], columns: int = 8) -> Image.Image:
    """Pictures uint8 [B, 3, H, W] in a grid, each under its label."""
    side, line = 140, 24
    rows = -(-len(labels) // columns)
    canvas = Image.new("RGB", (columns * (side + 8) + 8, rows * (side + line + 8) + 8), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (image_CHW, label) in enumerate(zip(images_BCHW, labels, strict=False)):
        left, top = 8 + index % columns * (side + 8), 8 + index // columns * (side + line + 8)
        draw.text((left + side / 2, top + line / 2), shortened(label, 18), INK, font(15), anchor="mm")
        picture = Image.fromarray(image_CHW.permute(1, 2, 0).numpy())
        canvas.paste(picture.resize((side, side), Image.Resampling.BILINEAR), (left, top + line))
    return canvas
