"""What a data set consists of: columns, not one object per image, so that a million rows fit and workers share them."""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.decode import MAX_MEGAPIXELS, UnreadableImage, read_rgb

# What an image is labelled with: one of several classes, any number of them, or numbers.
Labels = Literal["classes", "tags", "numbers"]
Rows = npt.NDArray[np.int64]
CHUNK = 65536


def string_column(values: Iterable[str]) -> npt.NDArray[Any]:
    """Strings [N] of any length in one numpy array, which holds no Python object per row."""
    return np.array(list(values), dtype=np.dtypes.StringDType())


@dataclass
class ImageTable:
    """Every image of a data set. Columns of equal length N.

    `paths`: names of the images, as people know them; files below `root`, or, where `read_row` is given, just names.
    `labels`: int64 [N] (index into class_names), or uint8 [N, K] (0 or 1 for each class), or float32 [N, T] (numbers).
    `class_names`: K classes or T numbers.
    `splits`: the rows of each split; a split that does not exist is absent.
    `groups_N`: images with the same number stay in the same split.
    """

    paths: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    class_names: list[str]
    splits: dict[str, Rows]
    root: Path | None = None
    read_row: Callable[[int], Image.Image] | None = None
    groups_N: npt.NDArray[np.int64] | None = None
    max_megapixels: float = MAX_MEGAPIXELS
    notes: list[str] = field(default_factory=list)  # what the log should say about the data

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def label_kind(self) -> Labels:
        if self.labels.ndim == 1:
            return "classes"
        return "tags" if self.labels.dtype == np.uint8 else "numbers"

    def file(self, row: int) -> Path | None:
        """Where the image lies; None if it is no file."""
        return None if self.root is None else self.root / self.paths[row]

    def read(self, row: int, needed_px: int | None = None) -> Image.Image:
        """Decode an image; `needed_px` as in read_rgb. Raises UnreadableImage."""
        if self.read_row is not None:
            return self.read_row(row)
        assert self.root is not None
        return read_rgb(self.root / self.paths[row], needed_px, self.max_megapixels)

    def label_text(self, row: int) -> str:
        """As csv files show it: a class, classes with ; between them, or numbers likewise."""
        if self.label_kind == "classes":
            return self.class_names[int(self.labels[row])]
        if self.label_kind == "tags":
            return ";".join(self.class_names[k] for k in np.flatnonzero(self.labels[row]))
        return ";".join(f"{value:g}" for value in self.labels[row])

    def class_counts(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Images of each class, int64 [K]."""
        if self.label_kind == "classes":
            return np.bincount(self.labels[rows], minlength=len(self.class_names)).astype(np.int64)
        return self.labels[rows].astype(np.int64).sum(axis=0)  # type: ignore[no-any-return]

    def fingerprint(self) -> str:
        """Changes when an image is added, taken away, renamed, or gets another label or split."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for name, rows in sorted(self.splits.items()):
            digest.update(name.encode())
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                digest.update("\n".join(self.paths[part].tolist()).encode())
                digest.update(self.labels[part].tobytes())
        return digest.hexdigest()[:16]

    def content_stamp(self, rows: Rows) -> str:
        """Changes when one of the files is replaced: a hash of their paths, sizes and times.

        Where there are no files, it is a hash of the table and of the pixels of some images.
        """
        if self.root is None:
            digest = hashlib.sha256(self.fingerprint().encode() + rows.tobytes())
            for row in rows[:: max(1, len(rows) // 16)]:
                with suppress(UnreadableImage):
                    digest.update(self.read(int(row)).tobytes())
            return digest.hexdigest()
        digest = hashlib.sha256(os.fsencode(self.root))
        for row in rows:
            file = self.root / self.paths[row]
            try:
                stat = file.stat()
                digest.update(f"{self.paths[row]}\t{stat.st_size}\t{stat.st_mtime_ns}\n".encode())
            except OSError:
                digest.update(f"{self.paths[row]}\tmissing\n".encode())
        return digest.hexdigest()
