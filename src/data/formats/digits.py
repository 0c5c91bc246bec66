"""The handwritten digits that the repository carries (see src/assets/README.md)."""

from typing import Unpack

import numpy as np

from src.data.formats.digit_images import DIGITS_FILE, digit_path, read_digit
from src.data.module import ImageDataModule
from src.data.source import DataArguments
from src.data.table import ImageTable, string_column


class DigitsDataModule(ImageDataModule):
    """1,797 grey images of 8 x 8 pixels, ten classes."""

    def __init__(self, **settings: Unpack[DataArguments]) -> None:
        settings.setdefault("test_fraction", 0.2)
        super().__init__(**settings)

    def scan(self) -> ImageTable:
        with np.load(DIGITS_FILE) as file:
            digits_N = file["labels"].astype(np.int64)
        targets = self.as_known("data=digits", digits_N, list("0123456789"))
        paths = string_column(digit_path(row) for row in range(len(digits_N)))
        notes: list[str] = []
        splits = self.split_plan.split({"all": np.arange(len(digits_N))}, targets, paths, notes)
        return ImageTable(paths, targets, splits, read_row=read_digit, notes=notes)
