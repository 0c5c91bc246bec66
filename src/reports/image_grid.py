"""Images in a grid, as one image."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from src.reports.drawing import INK, font, shortened


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
