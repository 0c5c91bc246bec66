"""Decoded and resized images, kept on disk. src/data/cache/entries.py says what an entry is."""

import json
import logging
import os
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from lightning import Trainer
from PIL import Image

from src.data.cache.entries import entry_name, require_space
from src.data.cache.plan import CachePlan, readable_by_now
from src.data.decode import UnreadableImage
from src.data.reading import READ_AT_ONCE, read_all
from src.data.table import ImageTable
from src.data.targets import Rows
from src.data.transforms import Transform

log = logging.getLogger(__name__)


class ImageCache:
    """Prepared images of different sizes, one after the other in one file of the entry `folder`."""

    def __init__(self, folder: Path, lock: IO[bytes]) -> None:
        self.folder, self.lock = folder, lock
        with np.load(folder / "index.npz") as index:
            self.starts_N, self.sizes_N2 = index["starts"], index["sizes"]
        self.reasons = reasons_in(folder)
        self.pixels: IO[bytes] | None = None  # opened by each process for itself
        self.is_whole = True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pixels": None, "lock": None}

    def __call__(self, position: int) -> Image.Image | None:
        """The image at a position; None if the entry was damaged or deleted meanwhile. Raises UnreadableImage."""
        if position in self.reasons:
            raise UnreadableImage(self.reasons[position])
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
    plan: CachePlan,
    table: ImageTable,
    rows: Rows,
    transform: Transform,
    settings: str,
    num_workers: int,
    trainer: Trainer | None,
) -> ImageCache:
    """These rows as `transform.prepare` leaves them, made first if need be; `settings` says all that it depends on."""
    name = entry_name("images", table.content_stamp(rows), settings)
    fill = partial(fill_images, table, rows, transform, num_workers)
    find_outdated = partial(readable_by_now, table, rows, transform.needed_px, reasons_in)
    return ImageCache(*plan.open(name, f"{len(rows):,} resized images", fill, find_outdated, trainer))


def reasons_in(entry: Path) -> dict[int, str]:
    """Why there is no image, by position."""
    reasons = json.loads((entry / "unreadable.json").read_text(encoding="utf-8"))
    return {int(position): reason for position, reason in reasons.items()}


def fill_images(table: ImageTable, rows: Rows, transform: Transform, num_workers: int, temporary: Path) -> None:
    starts_N, sizes_N2 = np.zeros(len(rows), dtype=np.int64), np.zeros((len(rows), 2), dtype=np.int32)
    reasons: dict[int, str] = {}
    end = 0
    with (temporary / "pixels.bin").open("wb") as file:
        prepared = read_all(partial(prepare, table, transform), rows, num_workers, "resize and keep")
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


def prepare(table: ImageTable, transform: Transform, row: int) -> tuple[npt.NDArray[np.uint8] | None, str]:
    """The prepared image uint8 [H, W, 3], or None and the reason."""
    try:
        return np.asarray(transform.prepare(table.read(row, transform.needed_px), None)[0]), ""
    except UnreadableImage as error:
        return None, str(error)
