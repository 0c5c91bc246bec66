"""From an image file to RGB pixels. The one place where files are decoded."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".avif",
        ".jp2",
    ]
)


class UnreadableImage(Exception):
    """The file is missing, empty, damaged, no picture, or too large to decode safely."""


def read_rgb(path: str | Path) -> Image.Image:
    """The picture as a person sees it: RGB, 8 bits, turned upright by its EXIF tag, transparency over white.

    Raises UnreadableImage, with the reason, for whatever cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return to_rgb(ImageOps.exif_transpose(image))
    # Decoders raise OSError, ValueError, TypeError, SyntaxError, struct.error, DecompressionBombError and more.
    except Exception as error:
        reason = str(error).replace(repr(str(path)), "").strip(" :") or type(error).__name__
        raise UnreadableImage(reason) from error


def to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
