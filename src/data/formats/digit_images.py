"""The pixels of the digits that the repository carries (see src/assets/README.md). Imports no torch."""

import re
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.settings.project import PROJECT_ROOT

DIGITS_FILE = PROJECT_ROOT / "src" / "assets" / "digits.npz"


@cache
def digit_pixels() -> npt.NDArray[np.uint8]:
    """Grey values [1797, 8, 8]."""
    with np.load(DIGITS_FILE) as file:
        return np.asarray(file["images"].astype(np.uint16) * 255 // 16, dtype=np.uint8)


def read_digit(row: int) -> Image.Image:
    return Image.fromarray(digit_pixels()[row]).convert("RGB")


def digit_path(row: int) -> str:
    """What a digit, which is no file, is called."""
    return f"digits/{row:04d}"


def digit_at(path: str) -> Image.Image | None:
    """The digit that is called so; None if none is."""
    found = re.fullmatch(r"digits/(\d{4})", path)
    return read_digit(int(found[1])) if found and int(found[1]) < len(digit_pixels()) else None
