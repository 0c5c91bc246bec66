"""Boxes drawn on an image, with their classes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from src.reports.drawing import font

# Told apart also by people who see no red or no green (Okabe and Ito 2008, "Color Universal Design").
COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#ffffff")
DARK, LIGHT = "#000000", "#ffffff"
LIGHT_GROUNDS = ("#e69f00", "#56b4e9", "#f0e442", "#ffffff", "#cc79a7")  # that need dark letters


def color_of(class_id: int) -> str:
    return COLORS[class_id % len(COLORS)]


def draw_boxes(
    image: Image.Image,
    boxes_xyxy: npt.NDArray[np.float32],
    texts: Sequence[str],
    colors: Sequence[str],
    dashed: bool = False,
    doubled: bool = False,
    text_px: int | None = None,
) -> Image.Image:
    """A copy of the image with boxes [M, 4] in its pixels, each with a text (may be empty) in a colour `#rrggbb`.

    Lines and letters grow with the image, and lines have dark edges, to be seen on any ground. `dashed`: corners alone,
    as for boxes that were missed, with the text below; other texts are above their boxes. `doubled`: with a second line
    around them, as for wrong ones. `text_px`: None = by the size of the image.
    """
    drawn = image.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    width = max(1, round(max(image.size) / 320))
    letters = font(text_px or max(9, round(max(image.size) / 45)))
    for box, text, color in zip(boxes_xyxy.tolist(), texts, colors, strict=True):
        left, top, right, bottom = box
        corners = (left, top, max(right - 1, left), max(bottom - 1, top))
        for ink, wide in ((DARK, width + 2), (color, width)):
            if dashed:
                draw_corners(draw, corners, ink, wide)
            else:
                draw.line(outline(corners), fill=ink, width=wide, joint="curve")
            if doubled:
                draw.line(outline(corners, 2 * width + 2), fill=ink, width=wide, joint="curve")
        if text:
            y = bottom if dashed else top - text_box(draw, text, letters)[3]
            label(draw, (left, y), text, color, letters, drawn.size)
    return drawn


def outline(corners: tuple[float, float, float, float], away_px: int = 0) -> list[tuple[float, float]]:
    left, top, right, bottom = (side + sign * away_px for side, sign in zip(corners, (-1, -1, 1, 1), strict=True))
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def draw_corners(draw: ImageDraw.ImageDraw, corners: tuple[float, float, float, float], color: str, width: int) -> None:
    """A quarter of each side, from each end."""
    left, top, right, bottom = corners
    across, down = (right - left) / 4, (bottom - top) / 4
    for x, step in ((left, across), (right, -across)):
        for y, fall in ((top, down), (bottom, -down)):
            draw.line([(x + step, y), (x, y), (x, y + fall)], fill=color, width=width)


def label(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    color: str,
    letters: object,
    size: tuple[int, int],
) -> None:
    """Text on a ground of this colour, below and right of the corner, moved into the image, which has this size."""
    left, top, width, height = text_box(draw, text, letters)
    x, y = (max(min(at, most - side), 0) for at, most, side in zip(corner, size, (width, height), strict=True))
    draw.rectangle((x, y, x + width, y + height), fill=color)
    ink = DARK if color in LIGHT_GROUNDS else LIGHT
    draw.text((x + 2 - left, y + 2 - top), text, fill=ink, font=letters)  # type: ignore[arg-type]


def text_box(draw: ImageDraw.ImageDraw, text: str, letters: object) -> tuple[float, float, float, float]:
    """Where its ink begins, left and at the top, and width and height of it with its ground."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=letters)  # type: ignore[arg-type]
    return left, top, right - left + 4, bottom - top + 4
