"""Images with their targets, whatever damaged files there are. Batches are dicts:

image       uint8 [B, 3, H, W]   RGB, resized, augmented if it is a training image; a list if sizes differ
features    [B, ...]             instead of image where the frozen part of the network has run already
label       int64 [B], uint8 [B, K] or float32 [B, T]   the targets, as src/data/targets.py has them
index       int64 [B]            row of the image table
unreadable  list of (path, reason) met while the batch was made
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from src.data.decode import UnreadableImage, read_sized
from src.data.samplers import Draw, seeded
from src.data.table import ImageTable
from src.data.targets import Rows, Targets
from src.data.transforms import Transform

Batch = dict[str, Any]
Images = Tensor | list[Tensor]  # uint8 [B, 3, H, W], or [3, H, W] each where their sizes differ


class FileItem(NamedTuple):
    """An image by its path: pixels uint8 [3, H, W] and size in the file, upright; or the reason why there is none."""

    path: str
    image: Tensor | None = None
    size_wh: tuple[int, int] = (0, 0)
    error: str | None = None


class FileBatch(NamedTuple):
    """`images` and `sizes_wh` int64 [b, 2] of those that could be read; paths and errors (None if readable) of all."""

    images: Images
    sizes_wh: Tensor
    paths: list[str]
    errors: list[str | None]


# Damaged training images in a row before a batch goes without. Where so many are damaged, all may be, on a disk that is
# gone: then the other images of this batch are tried once only. No later batch depends on it.
MAX_SUBSTITUTES = 50


class ImageDataset(Dataset[Batch]):
    """The images of one split. A damaged one is skipped; with `substitute` the next readable one takes its place.

    The augmentation of an image depends on (seed, epoch, row) alone: not on the number of worker processes, nor on
    what was drawn before, so a resumed run sees what the uninterrupted one would have seen.

    `prepared` gives the image at a position in `rows` as `transform.prepare` leaves it, or None if it is not kept any
    more; None = decode all. Targets that move with the pixels go by the size of what `prepare` leaves, so it may scale
    them, and cut nothing off.
    """

    def __init__(
        self,
        table: ImageTable,
        rows: Rows,
        transform: Transform,
        seed: int,
        substitute: bool,
        prepared: Callable[[int], Image.Image | None] | None = None,
    ) -> None:
        self.table, self.rows, self.transform, self.seed = table, rows, transform, seed
        self.substitute, self.prepared = substitute, prepared
        self.sample = table.targets.sample if substitute else table.targets.evaluation_sample

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw | int) -> Batch:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: list[Draw | int]) -> list[Batch]:
        """The images of a batch."""
        items: list[Batch] = []
        most_tries = min(MAX_SUBSTITUTES, len(self)) if self.substitute else 1
        for draw in draws:
            in_vain = any("image" not in item for item in items)
            items.append(self.read(draw, 1 if in_vain else most_tries))
        return items

    def read(self, draw: Draw | int, tries: int) -> Batch:
        # Lightning's overfit_batches brings its own sampler, which draws plain positions.
        epoch, first = (0, draw) if isinstance(draw, int) else draw
        unreadable: list[tuple[str, str]] = []
        for offset in range(tries):
            position = (first + offset) % len(self)
            row = int(self.rows[position])
            try:
                image, target = self.prepare(position, row)
            except UnreadableImage as error:
                unreadable.append((str(self.table.paths[row]), str(error)))
                continue
            with seeded(self.seed, epoch, row):
                image_CHW, target = self.transform.draw(image, target)
            return {"image": image_CHW, "label": target, "index": row, "unreadable": unreadable}
        return {"unreadable": unreadable}

    def prepare(self, position: int, row: int) -> tuple[Image.Image, Any]:
        if self.prepared is not None and (kept := self.prepared(position)) is not None:
            return kept, self.sample(row, kept.size)
        # Masks are filled at the size that is needed, and not scaled down from a photograph's.
        image, _ = self.transform.prepare(self.table.read(row, self.transform.needed_px), None)
        return image, self.sample(row, image.size)


class Collate:
    """Makes a batch of what could be read, also of nothing (of side `size_px`): stacked, or listed if sizes differ."""

    def __init__(self, size_px: int, targets: Targets) -> None:
        self.size_px, self.no_targets = size_px, targets.take(np.empty(0, dtype=np.int64))

    def __call__(self, items: list[Batch]) -> Batch:
        read = [item for item in items if "image" in item]
        labels = self.no_targets.stack([item["label"] for item in read])
        return {
            "image": stacked([item["image"] for item in read], self.size_px),
            "label": torch.from_numpy(labels) if isinstance(labels, np.ndarray) else labels,
            "index": torch.tensor([item["index"] for item in read], dtype=torch.int64),
            "unreadable": [pair for item in items for pair in item["unreadable"]],
        }


def stacked(images: list[Tensor], size_px: int = 0) -> Images:
    """As one tensor if their sizes are equal; of no images, their side is `size_px`."""
    if not images:
        return torch.empty((0, 3, size_px, size_px), dtype=torch.uint8)
    return torch.stack(images) if len({image.shape for image in images}) == 1 else images


def on_device(images: Images, device: torch.device) -> Images:
    return [image.to(device) for image in images] if isinstance(images, list) else images.to(device)


class FileDataset(Dataset[FileItem]):
    """Images by path alone, for predictions: at `paths`, relative to `folder`, in this order."""

    def __init__(self, folder: Path, paths: list[str], transform: Transform) -> None:
        self.folder, self.paths, self.transform = folder, paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> FileItem:
        path = self.paths[index]
        try:
            image, size_wh = read_sized(self.folder / path, self.transform.needed_px)
            return FileItem(path, self.transform(image), size_wh)
        except UnreadableImage as error:
            return FileItem(path, error=str(error))


def collate_files(items: list[FileItem]) -> FileBatch:
    read = [item for item in items if item.image is not None]
    sizes_wh = torch.tensor([item.size_wh for item in read], dtype=torch.int64).reshape(-1, 2)
    images = stacked([item.image for item in read if item.image is not None])
    return FileBatch(images, sizes_wh, [item.path for item in items], [item.error for item in items])
