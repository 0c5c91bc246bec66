"""Decoded and resized images, kept on disk. src/data/cache/entries.py says what an entry is."""

import json
import logging
import os
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch.utils.data import Dataset

from src.data.cache.entries import open_entry, require_space
from src.data.decode import UnreadableImage
from src.data.reading import READ_AT_ONCE, read_all
from src.data.table import ImageTable
from src.data.targets import Rows
from src.data.transforms import Transform

log = logging.getLogger(__name__)

MAX_TRIED_AGAIN = 100  # of the images that could not be read when an entry was filled


class PreparedImages(Dataset[tuple[npt.NDArray[np.uint8] | None, str]]):
    """The prepared image at each position, uint8 [H, W, 3], or None and the reason."""

    def __init__(self, table: ImageTable, rows: Rows, transform: Transform) -> None:
        self.table, self.rows, self.transform = table, rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[npt.NDArray[np.uint8] | None, str]:
        try:
            image = self.table.read(int(self.rows[position]), self.transform.needed_px)
            return np.asarray(self.transform.prepare(image, None)[0]), ""
        except UnreadableImage as error:
            return None, str(error)


class ImageCache:
    """Prepared images of different sizes, one after the other in one file.

    Args:
        folder: of the entry.
        lock: keeps other runs from deleting it.
    """

    def __init__(self, folder: Path, lock: IO[bytes] | None = None) -> None:
        self.folder, self.lock = folder, lock
        with np.load(folder / "index.npz") as index:
            self.starts_N, self.sizes_N2 = index["starts"], index["sizes"]
        self.reasons: dict[str, str] = json.loads((folder / "unreadable.json").read_text(encoding="utf-8"))
        self.pixels: IO[bytes] | None = None  # opened by each process for itself
        self.is_whole = True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pixels": None, "lock": None}

    def __call__(self, position: int) -> Image.Image | None:
        """The image at a position; None if the entry was damaged or deleted meanwhile. Raises UnreadableImage."""
        if str(position) in self.reasons:
            raise UnreadableImage(self.reasons[str(position)])
        height, width = (int(side) for side in self.sizes_N2[position])
        pixels = self.read(int(self.starts_N[position]), height * width * 3)
        return Image.frombytes("RGB", (width, height), pixels) if pixels is not None else None

    def read(self, start: int, size: int) -> bytes | None:
        """Not mapped into memory, where a file that somebody cuts off would end the process."""
        try:
            if self.pixels is None:
                self.pixels = (self.folder / "pixels.bin").open("rb", buffering=0)
            if hasattr(os, "pread"):
                pixels = os.pread(self.pixels.fileno(), size, start)
            else:  # Windows, where processes share no position in a file
                self.pixels.seek(start)
                pixels = self.pixels.read(size)
        except OSError:
            pixels = b""
        if len(pixels) == size:
            return pixels
        if self.is_whole:
            log.warning("%s was damaged or deleted meanwhile: the images' own files are read instead.", self.folder)
        self.is_whole = False
        return None


def cached_images(
    folder: Path,
    table: ImageTable,
    rows: Rows,
    transform: Transform,
    num_workers: int,
    most_gb: float | None = None,
    first: bool = True,
) -> ImageCache:
    """The entry of these rows, filled first if it does not exist.

    Args:
        folder: the entry; its name says what `transform.prepare` does.
        table, rows, transform: of the images.
        num_workers: processes that read.
        most_gb: as in `open_entry`.
        first: whether no other process of this run has opened it yet.
    """

    def fill(temporary: Path) -> None:
        start = time.perf_counter()
        fill_images(temporary, table, rows, transform, num_workers)
        log.info("Kept %s resized images in %s (%.1f s)", f"{len(rows):,}", folder, time.perf_counter() - start)

    def find_outdated(entry: Path) -> str:
        reasons = json.loads((entry / "unreadable.json").read_text(encoding="utf-8"))
        return readable_by_now(table, rows, transform.needed_px, [int(position) for position in reasons])

    return ImageCache(folder, open_entry(folder, fill, most_gb, find_outdated, read_all=first))


def readable_by_now(table: ImageTable, rows: Rows, needed_px: int | None, positions: list[int]) -> str:
    """Says that images can be read now that could not when an entry was filled: its disk failed, say, or their rights
    were wrong, which no size and time of a file tells. An empty text if that is not so.
    """
    for position in positions[:: -(-len(positions) // MAX_TRIED_AGAIN) or 1]:
        row = int(rows[position])
        try:
            table.read(row, needed_px)
        except UnreadableImage:
            continue
        return f"{table.paths[row]} can be read now, which was not so when the entry was made"
    return ""


def fill_images(temporary: Path, table: ImageTable, rows: Rows, transform: Transform, num_workers: int) -> None:
    starts_N, sizes_N2 = np.zeros(len(rows), dtype=np.int64), np.zeros((len(rows), 2), dtype=np.int32)
    reasons: dict[int, str] = {}
    end = 0
    with (temporary / "pixels.bin").open("wb") as file:
        prepared = read_all(PreparedImages(table, rows, transform), num_workers, "resize and keep")
        for position, (pixels_HW3, reason) in enumerate(prepared):
            if pixels_HW3 is None:
                reasons[position] = reason
            else:
                starts_N[position], sizes_N2[position] = end, pixels_HW3.shape[:2]
                end += file.write(pixels_HW3.tobytes())
            if position + 1 == min(READ_AT_ONCE, len(rows)):
                require_space(temporary.parent, end // (position + 1) * len(rows))
    np.savez(temporary / "index.npz", starts=starts_N, sizes=sizes_N2)
    (temporary / "unreadable.json").write_text(json.dumps(reasons), encoding="utf-8")
