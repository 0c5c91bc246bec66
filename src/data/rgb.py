"""From an image of any mode to RGB of 8 bits a channel, without a second copy of all its pixels.

What needs a step in between (transparency, deep greys) goes through it band by band, a few rows at a time, which gives
the very pixels of a conversion of the whole and takes 4 bytes per pixel for the result instead of 20 and more.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

BAND_PIXELS = 1 << 18  # of the image that are converted at once
Box = tuple[int, int, int, int]  # left, upper, right, lower


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of an image of any mode, transparency over white; the image itself if it is that already.

    Raises ValueError for an image of floats of which not one is finite.
    """
    if image.mode.startswith(("I", "F")):
        return deep_to_rgb(image)
    if image.mode == "LAB":  # Pillow's convert refuses it
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None
        return converted
    if image.has_transparency_data:
        return over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def over_white(image: Image.Image) -> Image.Image:
    found = Image.new("RGB", image.size)
    for box in bands(image):
        rgba = image.crop(box).convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        found.paste(Image.alpha_composite(white, rgba).convert("RGB"), box)
    return found


def deep_to_rgb(image: Image.Image) -> Image.Image:
    """Of grey values of 16 or 32 bits or floats, which Pillow's own conversion clips to white.

    The scale is that of the format, so that images of one source stay comparable: whole numbers 0..65535, floats
    0..1. Values outside are taken for a range of their own (0..255 if they fit it, else from their lowest to highest).
    What is not finite counts as 0.
    """
    lows, highs, some_finite, dtype = list[float](), list[float](), False, np.dtype(np.float32)
    for box in bands(image):
        values_HW = np.asarray(image.crop(box))
        finite_HW, dtype = finite(values_HW), values_HW.dtype
        lows.append(float(finite_HW.min()))
        highs.append(float(finite_HW.max()))
        some_finite = some_finite or bool(np.isfinite(values_HW).any())
    if not some_finite:
        raise ValueError("not one of its values is a finite number")
    low, high = min(lows), max(highs)
    if np.issubdtype(dtype, np.integer):
        top = 65535.0 if dtype.itemsize == 2 or high > 255 else 255.0
    else:
        top = 1.0 if high <= 1 else 255.0
    start = 0.0
    if low < 0 or high > top:
        start, top = low, max(high - low, 1e-12)
    found = Image.new("RGB", image.size)
    for box in bands(image):
        levels_HW = np.floor((finite(np.asarray(image.crop(box))) - start) / top * 255.999)
        found.paste(Image.fromarray(np.clip(levels_HW, 0, 255).astype(np.uint8)).convert("RGB"), box)
    return found


def finite(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)


def bands(image: Image.Image) -> Iterator[Box]:
    """Boxes over the whole width, from the top to the bottom."""
    rows = max(1, BAND_PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(image.height, top + rows)
