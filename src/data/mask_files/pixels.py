"""Pixels of a mask file: its values as they are stored, never colours that a palette gives them. Imports no torch.

Shapes: H and W pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.decode import UnreadableImage, open_image
from src.data.mask_files.codes import FULL, OTHERS, Codes, codes_of_colors

# Formats that do not keep values, or need not. A mask that was once saved so has values that nobody gave it.
LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")
MOST_CODES = 4096  # of one mask that are told apart; the most frequent ones
COLOR_MODES = ("RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")


class LossyMask(UnreadableImage):
    """The mask is of a format that smears values."""


@dataclass(frozen=True)
class PixelReader:
    """How masks are read. `colors`: codes of a table's colours; of masks with a palette of these alone, colours count.
    `one` is the value of a 1-bit mask's other pixels: 255 as in a mask of bytes, unless a table names 1.
    """

    colors: frozenset[int] = frozenset()
    one: int = FULL
    max_megapixels: float = 180.0

    def read(self, file: Path) -> tuple[Codes | npt.NDArray[Any], str]:
        """The codes [H, W], as whole numbers of any kind, and Pillow's name of the file's mode. Raises UnreadableImage,
        of which LossyMask is one.
        """
        with open_image(file, self.max_megapixels) as image:
            if image.format in LOSSY:
                raise LossyMask(f"it is a {image.format}, which smears values: save masks as PNG")
            return self.codes(image), image.mode

    def codes(self, image: Image.Image) -> Codes | npt.NDArray[Any]:
        if image.mode == "1":
            return np.where(np.asarray(image), np.uint8(self.one), np.uint8(0))
        if image.mode in ("P", "PA"):
            return self.indices(image)
        if image.mode in ("L", "LA", "La"):
            return np.asarray(image) if image.mode == "L" else np.asarray(image)[..., 0]
        if image.mode.startswith("I"):
            return whole_numbers(np.asarray(image))
        if image.mode == "F":
            return whole_numbers(np.asarray(image))
        if image.mode in COLOR_MODES:
            return self.of_colors(np.asarray(image.convert("RGB")))
        raise UnreadableImage(f"masks of Pillow's mode {image.mode} are not known: save it as an 8-bit PNG")

    def indices(self, image: Image.Image) -> Codes | npt.NDArray[Any]:
        indices_HW = np.asarray(image) if image.mode == "P" else np.asarray(image)[..., 0]
        if not self.colors or image.palette is None:
            return indices_HW
        palette = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
        used = np.unique(indices_HW)
        if used[-1] >= len(palette):
            return indices_HW
        codes_V = codes_of_colors(palette)
        fits = set(codes_V[used].tolist()) <= self.colors
        return np.asarray(codes_V[indices_HW]) if fits else indices_HW

    def of_colors(self, pixels_HW3: npt.NDArray[np.uint8]) -> Codes | npt.NDArray[Any]:
        """Without a table of colours, a grey image of three bands is one of values."""
        red = pixels_HW3[..., 0]
        if not self.colors and (red == pixels_HW3[..., 1]).all() and (red == pixels_HW3[..., 2]).all():
            return red
        return codes_of_colors(pixels_HW3)


def whole_numbers(values_HW: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Raises UnreadableImage for numbers with fractions, and for negative ones."""
    if values_HW.dtype.kind == "f":
        whole = np.rint(values_HW)
        if not np.array_equal(whole, values_HW):
            raise UnreadableImage("it has values that are no whole numbers")
        values_HW = whole.astype(np.int64)
    if values_HW.dtype.kind == "i" and values_HW.min() < 0:
        raise UnreadableImage("it has negative values")
    return values_HW


def counted(codes_HW: npt.NDArray[Any]) -> tuple[Codes, Codes]:
    """The codes that are there, ascending, and their numbers of pixels; beyond MOST_CODES together, as OTHERS."""
    if codes_HW.dtype == np.uint8:
        every = np.bincount(codes_HW.reshape(-1), minlength=256)
        codes = np.flatnonzero(every)
        counts = every[codes]
    else:
        codes, counts = np.unique(codes_HW, return_counts=True)
    codes, counts = codes.astype(np.int64), counts.astype(np.int64)
    if len(codes) > MOST_CODES:
        kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_CODES])
        rest = counts.sum() - counts[kept].sum()
        codes, counts = np.append(OTHERS, codes[kept]), np.append(rest, counts[kept])
    return codes, counts


def turned_upright(codes_HW: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """As `PIL.ImageOps.exif_transpose` turns an image of this EXIF orientation, 1 (not) to 8."""
    if orientation in (5, 6, 7, 8):
        codes_HW = codes_HW.T
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.flip(codes_HW, flips) if flips else codes_HW
