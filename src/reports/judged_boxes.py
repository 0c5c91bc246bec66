"""Boxes on an image by how they were answered, told apart by their lines and by colour; M boxes."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from src.evaluation.pixels.pasting import pasted
from src.reports.drawing import INK, fitted, font
from src.reports.drawn_boxes import draw_boxes
from src.reports.painted_objects import painted

Kind = Literal["true", "right", "missed", "wrong"]
SIDE_PX = 480  # longer side of a drawing
TEXTS_PER_SIDE = 28, 40  # lines of text that would fill it, with few and with many boxes
FEW = 15


class Style(NamedTuple):
    """`corners`: no whole lines; `doubled`: a second line around. Colours: see COLORS of drawn_boxes.py."""

    words: str
    color: str
    corners: bool = False
    doubled: bool = False


# In the order in which they are drawn, what is wrong on top.
STYLES: dict[Kind, Style] = {
    "true": Style("true box that was found", "#ffffff", corners=True),
    "right": Style("right answer", "#56b4e9"),
    "wrong": Style("wrong answer", "#d55e00", doubled=True),
    "missed": Style("missed box", "#f0e442", corners=True),
}


class JudgedBoxes(NamedTuple):
    """Of one image, in its pixels; an empty text is not drawn. `masks`: of the first boxes, in them, as `pasted` has
    them.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    kinds: list[Kind]
    texts: list[str]
    masks: Sequence[npt.NDArray[np.uint8]] = ()


def draw_judged(image: Image.Image, judged: JudgedBoxes, scale: float = 1.0, side_px: int = SIDE_PX) -> Image.Image:
    """The image with `side_px` as its longer side; `scale`: pixels of `image` per pixel of the boxes."""
    factor = side_px / max(image.size)
    size = max(round(image.width * factor), 1), max(round(image.height * factor), 1)
    drawn = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    placed = zip(judged.masks, judged.boxes_xyxy * np.float32(scale * factor), strict=False)
    crops = [pasted(mask, box) for mask, box in placed]
    drawn = painted(drawn, crops, [STYLES[kind].color for kind in judged.kinds[: len(crops)]])
    text_px = side_px // TEXTS_PER_SIDE[len(judged.kinds) > FEW]
    for kind, style in STYLES.items():
        mine = [m for m, one in enumerate(judged.kinds) if one == kind]
        boxes_M4 = judged.boxes_xyxy[mine] * np.float32(scale * factor)
        texts, colors = [judged.texts[m] for m in mine], [style.color] * len(mine)
        drawn = draw_boxes(drawn, boxes_M4, texts, colors, style.corners, style.doubled, text_px)
    return drawn


def draw_legend() -> Image.Image:
    """What the lines mean, at twice the pixels that it is shown with."""
    width, row = 960, 84
    canvas = Image.new("RGB", (width, row * len(STYLES)), (90, 90, 90))
    for index, style in enumerate(STYLES.values()):
        box_14 = np.array([[24, row * index + 18, 120, row * index + 66]], dtype=np.float32)
        canvas = draw_boxes(canvas, box_14, [""], [style.color], style.corners, style.doubled)
        ImageDraw.Draw(canvas).text((160, row * index + row / 2), style.words, "white", font(27), anchor="lm")
    return canvas.crop((0, 0, 520, canvas.height))


def draw_grid(images: Sequence[Image.Image], texts: Sequence[str], side_px: int, columns: int) -> Image.Image:
    """Images of any shape, each under its text."""
    line = 24
    columns = min(columns, max(len(images), 1))
    rows = -(-len(images) // columns)
    canvas = Image.new("RGB", (columns * (side_px + 8) + 8, rows * (side_px + line + 8) + 8), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (image, text) in enumerate(zip(images, texts, strict=True)):
        left, top = 8 + index % columns * (side_px + 8), 8 + index // columns * (side_px + line + 8)
        shown = fitted(text, side_px, font(15))
        draw.text((left + side_px / 2, top + line / 2), shown, INK, font(15), anchor="mm")
        canvas.paste(image, (left + (side_px - image.width) // 2, top + line))
    return canvas
