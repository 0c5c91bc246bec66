"""The handwritten digits that the repository carries (see src/assets/README.md)."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.config import PROJECT_ROOT
from src.data.base import ImageDataModule, ImageTable
from src.data.splits import stratified_cut

DIGITS_FILE = PROJECT_ROOT / "src" / "assets" / "digits.npz"


class DigitsDataModule(ImageDataModule):
    """1,797 grey pictures of 8 x 8 pixels, ten classes. Settings: see ImageDataModule."""

    def __init__(self, *, test_fraction: float = 0.2, **settings: Any) -> None:
        super().__init__(test_fraction=test_fraction, **settings)

    def scan(self) -> ImageTable:
        with np.load(DIGITS_FILE) as file:
            images_NHW, labels_N = file["images"], file["labels"].astype(np.int64)
        pixels_NHW = (images_NHW.astype(np.uint16) * 255 // 16).astype(np.uint8)
        fractions = {"val": self.val_fraction, "test": self.test_fraction or 0.0}
        splits = stratified_cut(labels_N, {name: share for name, share in fractions.items() if share}, self.split_seed)
        return ImageTable(
            read=partial(read_digit, pixels_NHW),
            paths=[f"digits/{row:04d}" for row in range(len(labels_N))],
            labels_N=labels_N,
            class_names=[str(digit) for digit in range(10)],
            splits=splits,
        )


def read_digit(pixels_NHW: npt.NDArray[np.uint8], row: int) -> Image.Image:
    return Image.fromarray(pixels_NHW[row]).convert("RGB")
