"""From an image file to RGB pixels. The one place where files are decoded."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

IMAGE_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2"),
    ]
)
MAX_MEGAPIXELS = 180.0  # about where Pillow itself refuses: headers beyond it are most often attacks or damage
# A JPEG is decoded at 1/2, 1/4 or 1/8 if its shorter side then still has this many times the pixels that are needed.
# docs/performance.md has the measured difference.
DRAFT_MARGIN = 3.0


class UnreadableImage(Exception):
    """The file is missing, empty, damaged, no picture, or too large to decode safely."""


def read_rgb(
    path: str | Path | BinaryIO,
    needed_px: int | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    formats: tuple[str, ...] | None = None,
) -> Image.Image:
    """The picture as a person sees it: RGB, 8 bits, upright by its EXIF tag, transparency over white, first frame.

    Args:
        path: of the file, or the open file.
        needed_px: what the shorter side will be scaled down to: larger JPEGs may then come reduced. None = all pixels.
        max_megapixels: a header that announces more is refused before any pixel is decoded.
        formats: what the file may be, by Pillow's names. None = whatever Pillow reads.

    Raises:
        UnreadableImage: with the reason, for whatever cannot be decoded.
    """
    try:
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > max_megapixels * 1e6:
                raise UnreadableImage(
                    f"{image.width} x {image.height} pixels are more than data.max_megapixels={max_megapixels:g}"
                )
            if needed_px is not None:
                least = round(DRAFT_MARGIN * needed_px)
                image.draft(None, (least, least))  # the smallest scale at which both sides have at least this
            return to_rgb(ImageOps.exif_transpose(image))
    except UnreadableImage:
        raise
    # Decoders raise OSError, ValueError, TypeError, SyntaxError, struct.error, DecompressionBombError and more.
    except Exception as error:
        reason = str(error).replace(repr(str(path)), "").replace(repr(path), "").strip(" :") or type(error).__name__
        raise UnreadableImage(reason) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of a picture of any mode."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":  # Pillow's convert refuses it
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None
        return converted
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def to_8_bits(gray_HW: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Grey values of 16 or 32 bits or floats, uint8 [H, W]; Pillow's own conversion clips them to white.

    The scale is that of the format, so that pictures of one source stay comparable: whole numbers 0..65535, floats
    0..1. Values outside are taken for a range of their own (0..255 if they fit it, else from their lowest to highest).
    """
    finite = np.nan_to_num(gray_HW.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    if np.issubdtype(gray_HW.dtype, np.integer):
        top = 65535.0 if gray_HW.dtype.itemsize == 2 or high > 255 else 255.0
    else:
        top = 1.0 if high <= 1 else 255.0
    if low < 0 or high > top:
        finite, top = finite - low, max(high - low, 1e-12)
    return np.clip(np.floor(finite / top * 255.999), 0, 255).astype(np.uint8)
