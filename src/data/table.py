"""What a data set consists of: columns, not one object per image, so that a million rows fit and workers share them."""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.decode import MAX_MEGAPIXELS, UnreadableImage, read_rgb
from src.data.targets import Rows, Targets

CHUNK = 65536


def string_column(values: Iterable[str]) -> npt.NDArray[Any]:
    """Strings [N] of any length in one numpy array, which holds no Python object per row."""
    return np.array(list(values), dtype=np.dtypes.StringDType())


@dataclass
class ImageTable:
    """Every image of a data set. Columns of equal length N.

    `paths`: names of the images, as people know them; files below `root`, or, where `read_row` is given, just names.
    `targets`: what each image is labelled with.
    `splits`: the rows of each split; a split that does not exist is absent.
    `groups_N`: images with the same number stay in the same split.
    """

    paths: npt.NDArray[Any]
    targets: Targets
    splits: dict[str, Rows]
    root: Path | None = None
    read_row: Callable[[int], Image.Image] | None = None
    groups_N: npt.NDArray[np.int64] | None = None
    max_megapixels: float = MAX_MEGAPIXELS
    notes: list[str] = field(default_factory=list)  # what the log should say about the data

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def class_names(self) -> list[str]:
        return self.targets.names

    @property
    def labels(self) -> npt.NDArray[Any]:
        return self.targets.values

    @property
    def rows_in_splits(self) -> Rows:
        """Each once, ascending."""
        return np.unique(np.concatenate(list(self.splits.values())))

    def file(self, row: int) -> Path | None:
        """Where the image lies; None if it is no file."""
        return None if self.root is None else self.root / self.paths[row]

    def read(self, row: int, needed_px: int | None = None) -> Image.Image:
        """Decode an image; `needed_px` as in read_rgb. Raises UnreadableImage."""
        if self.read_row is not None:
            return self.read_row(row)
        assert self.root is not None
        return read_rgb(self.root / self.paths[row], needed_px, self.max_megapixels)

    def fingerprint(self) -> str:
        """Changes when an image is added, taken away, renamed, or gets another label or split."""
        digest = hashlib.sha256("\n".join(self.targets.names).encode())
        for name, rows in sorted(self.splits.items()):
            digest.update(name.encode())
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                digest.update("\n".join(self.paths[part].tolist()).encode())
                digest.update(self.targets.digest(part))
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
