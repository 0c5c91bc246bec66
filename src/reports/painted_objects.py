"""Masks painted over an image."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor

from src.evaluation.pixels.crops import Crop

OPACITY = 0.5


def painted(image: Image.Image, crops: Sequence[Crop], colors: Sequence[str]) -> Image.Image:
    """The image with each mask, in its pixels, in a colour `#rrggbb`; the first ones, the surest, on top."""
    if not crops:
        return image
    pixels = np.array(image.convert("RGB"))
    for crop, color in list(zip(crops, colors, strict=True))[::-1]:
        part = pixels[crop.top : crop.bottom, crop.left : crop.right]
        inside = crop.pixels[: part.shape[0], : part.shape[1]]
        part[inside] = (part[inside] * (1 - OPACITY) + np.array(ImageColor.getrgb(color)) * OPACITY).astype(np.uint8)
    return Image.fromarray(pixels)
