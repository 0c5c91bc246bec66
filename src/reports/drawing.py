"""What drawings share: colours, letters, a grid. With Pillow: matplotlib would cost every start two seconds."""

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

DARK_BLUE = np.array([8, 48, 107])
INK, GREY, LIGHT_GREY, ORANGE = (30, 30, 30), (110, 110, 110), (225, 225, 225), (200, 80, 0)
SMALL_PX = 400  # longer side that a drawing has at least, about
FontLike = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def font(size_px: int) -> FontLike:
    return ImageFont.load_default(size_px)


def shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def fitted(text: str, width_px: int, of_font: FontLike) -> str:
    """The text, cut where it is too wide."""
    while of_font.getlength(text) > width_px and len(text) > 1:
        text = f"{text[:-2]}…"
    return text


def paste_turned(
    canvas: Image.Image, text: str, of_font: FontLike, at: tuple[float, float], color: tuple[int, int, int] = INK
) -> None:
    """Text that reads upwards and ends, at its top, below `at`."""
    left, top, right, bottom = of_font.getbbox(text or " ")
    strip = Image.new("L", (round(right - left) + 4, round(bottom - top) + 4))
    ImageDraw.Draw(strip).text((2 - left, 2 - top), text, 255, of_font)
    turned = strip.rotate(90, expand=True)
    canvas.paste(color, (round(at[0] - turned.width / 2), round(at[1])), turned)


def enlarged(image: Image.Image) -> tuple[Image.Image, int]:
    """A small image in whole multiples of its pixels, so that letters can be read on it, and how many."""
    factor = max(1, SMALL_PX // max(image.size))
    size = image.width * factor, image.height * factor
    return image.resize(size, Image.Resampling.NEAREST) if factor > 1 else image, factor


def draw_images(images_BCHW: Iterable[ArrayLike], labels: list[str], columns: int = 8) -> Image.Image:
    """Images uint8 [B, 3, H, W] in a grid, each under its label."""
    side, line = 140, 24
    rows = -(-len(labels) // columns)
    canvas = Image.new("RGB", (columns * (side + 8) + 8, rows * (side + line + 8) + 8), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (image_CHW, label) in enumerate(zip(images_BCHW, labels, strict=False)):
        left, top = 8 + index % columns * (side + 8), 8 + index // columns * (side + line + 8)
        draw.text((left + side / 2, top + line / 2), shortened(label, 18), INK, font(15), anchor="mm")
        image = Image.fromarray(np.asarray(image_CHW).transpose(1, 2, 0))
        canvas.paste(image.resize((side, side), Image.Resampling.BILINEAR), (left, top + line))
    return canvas
