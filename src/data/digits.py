"""The handwritten digits that the repository carries (see src/assets/README.md)."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.config import PROJECT_ROOT
from src.data.base import ImageDataModule
from src.data.table import ImageTable, string_column

DIGITS_FILE = PROJECT_ROOT / "src" / "assets" / "digits.npz"


class DigitsDataModule(ImageDataModule):
    """1,797 grey pictures of 8 x 8 pixels, ten classes. Settings: see ImageDataModule."""

    def __init__(self, *, test_fraction: float = 0.2, **settings: Any) -> None:
        super().__init__(test_fraction=test_fraction, **settings)

    def scan(self) -> ImageTable:
        with np.load(DIGITS_FILE) as file:
            images_NHW, labels_N = file["images"], file["labels"].astype(np.int64)
        pixels_NHW = (images_NHW.astype(np.uint16) * 255 // 16).astype(np.uint8)
        paths = string_column(f"digits/{row:04d}" for row in range(len(labels_N)))
        notes: list[str] = []
        return ImageTable(
            paths,
            labels_N,
            class_names=[str(digit) for digit in range(10)],
            splits=self.split({"all": np.arange(len(labels_N))}, labels_N, paths, notes),
            read_row=partial(read_digit, pixels_NHW),
            notes=notes,
        )


def read_digit(pixels_NHW: npt.NDArray[np.uint8], row: int) -> Image.Image:
    return Image.fromarray(pixels_NHW[row]).convert("RGB")
