"""Datasets that survive damaged files, and samplers that can resume. Batches are dicts:

image       uint8 [B, 3, H, W]   RGB, resized and cropped, augmented if it is a training image
features    [B, ...]             instead of image where the frozen part of the network has run already
label       int64 [B], uint8 [B, K] or float32 [B, T]   as in ImageTable
index       int64 [B]            row of the image table
unreadable  list of (path, reason) met while the batch was made
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from src.data.decode import UnreadableImage
from src.data.table import ImageTable, Rows
from src.data.transforms import Seeded, Transform

Batch = dict[str, Any]
Draw = tuple[int, int]  # (epoch, position in the dataset)

# Damaged training images in a row before a batch goes without. Where so many are damaged, all may be, on a disk that is
# gone: then the other images of this batch are tried once only. No later batch depends on it.
MAX_SUBSTITUTES = 50


class ImageDataset(Dataset[Batch]):
    """The images of one split. A damaged one is skipped: in training, the next readable one takes its place.

    The augmentation of an image depends on (seed, epoch, row) alone: not on the number of worker processes, nor on
    what was drawn before, so a resumed run sees what the uninterrupted one would have seen.

    Args:
        table: with the labels.
        rows: of the table, in the order of the positions.
        transform: of the images.
        seed: of the augmentation.
        substitute: whether damaged images are replaced.
        prepared: gives the image at a position as `transform.prepare` leaves it, or None if it is not kept any more;
            None = decode all.
    """

    def __init__(
        self,
        table: ImageTable,
        rows: Rows,
        transform: Transform,
        seed: int,
        substitute: bool,
        prepared: Callable[[int], Any] | None = None,
    ) -> None:
        self.table, self.rows, self.transform, self.seed, self.substitute = table, rows, transform, seed, substitute
        self.prepared = prepared

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw | int) -> Batch:
        return self.read(draw, self.most_tries)

    def __getitems__(self, draws: list[Draw | int]) -> list[Batch]:
        """The images of a batch."""
        items: list[Batch] = []
        for draw in draws:
            in_vain = any("image" not in item for item in items)
            items.append(self.read(draw, 1 if in_vain else self.most_tries))
        return items

    @property
    def most_tries(self) -> int:
        return min(MAX_SUBSTITUTES, len(self)) if self.substitute else 1

    def read(self, draw: Draw | int, tries: int) -> Batch:
        # Lightning's overfit_batches brings its own sampler, which draws plain positions.
        epoch, first = (0, draw) if isinstance(draw, int) else draw
        unreadable: list[tuple[str, str]] = []
        for offset in range(tries):
            position = (first + offset) % len(self)
            row = int(self.rows[position])
            try:
                image = self.prepared(position) if self.prepared is not None else None
                if image is None:
                    image = self.prepare(row)
            except UnreadableImage as error:
                unreadable.append((str(self.table.paths[row]), str(error)))
                continue
            with Seeded(self.seed, epoch, row):
                image_CHW = self.transform.draw(image)
            return {"image": image_CHW, "label": self.table.labels[row], "index": row, "unreadable": unreadable}
        return {"unreadable": unreadable}

    def prepare(self, row: int) -> Any:
        return self.transform.prepare(self.table.read(row, self.transform.needed_px))


class Collate:
    """Makes a batch of what could be read; with nothing readable, a batch of no images."""

    def __init__(self, crop_px: int, labels: npt.NDArray[Any]) -> None:
        self.crop_px, self.no_labels = crop_px, labels[:0]

    def __call__(self, items: list[Batch]) -> Batch:
        read = [item for item in items if "image" in item]
        size = (0, 3, self.crop_px, self.crop_px)
        labels = np.stack([item["label"] for item in read]) if read else self.no_labels
        return {
            "image": torch.stack([item["image"] for item in read]) if read else torch.empty(size, dtype=torch.uint8),
            "label": torch.from_numpy(labels),
            "index": torch.tensor([item["index"] for item in read], dtype=torch.int64),
            "unreadable": [pair for item in items for pair in item["unreadable"]],
        }


class FeatureDataset(Dataset[Batch]):
    """What the frozen network made of each image of a split, batch by batch; damage is as in ImageDataset.

    Args:
        table, rows, substitute: as in ImageDataset.
        features_VN: [views, N, ...]; epoch e sees view e modulo views.
        reasons: why a position has no image, for those that have none.
    """

    def __init__(
        self, table: ImageTable, rows: Rows, substitute: bool, features_VN: Tensor, reasons: dict[int, str]
    ) -> None:
        self.table, self.rows, self.substitute, self.features_VN, self.reasons = (
            table, rows, substitute, features_VN, reasons,
        )  # fmt: skip
        self.kept_open: Any = None  # the lock of the features' file

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, draws: list[Draw]) -> Batch:
        view, positions = 0, list[int]()
        unreadable: list[tuple[str, str]] = []
        most_tries = min(MAX_SUBSTITUTES, len(self)) if self.substitute else 1
        for number, (epoch, first) in enumerate(draws):
            view = epoch % len(self.features_VN)
            in_vain = len(positions) < number  # as in ImageDataset
            for offset in range(1 if in_vain else most_tries):
                position = (first + offset) % len(self)
                if position not in self.reasons:
                    positions.append(position)
                    break
                unreadable.append((str(self.table.paths[self.rows[position]]), self.reasons[position]))
        rows = self.rows[positions]
        return {
            "features": self.features_VN[view, positions],
            "label": torch.from_numpy(self.table.labels[rows]),
            "index": torch.from_numpy(rows),
            "unreadable": unreadable,
        }


class EpochSampler(Sampler[Draw]):
    """Draws (epoch, position): in training anew each epoch by (seed, epoch) alone, and shared out among the processes.

    In training every process gets equally many, a few images twice if need be; in evaluation each image is seen
    exactly once, so that metrics are those of a single process.

    Args:
        size: images.
        training: shuffled, or drawn by `weights_N`.
        seed: of the draws.
        epoch: the first one.
        rank: of this process.
        processes: that share the images.
        weights_N: how often, relatively, each image is drawn (with replacement); None = each once per epoch.
        skip: (epoch, images of this process at its beginning to leave out), where a run was interrupted within it.
    """

    def __init__(
        self,
        size: int,
        training: bool,
        seed: int,
        epoch: int = 0,
        rank: int = 0,
        processes: int = 1,
        weights_N: npt.NDArray[np.float64] | None = None,
        skip: tuple[int, int] = (0, 0),
    ) -> None:
        self.size, self.training, self.seed, self.epoch = size, training, seed, epoch
        self.rank, self.processes, self.skip = rank, processes, skip
        self.cumulated_N = None if weights_N is None else np.cumsum(weights_N) / weights_N.sum()

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.training:
            return -(-self.size // self.processes)
        return len(range(self.rank, self.size, self.processes))

    def __iter__(self) -> Iterator[Draw]:
        if not self.training:
            order = np.arange(self.size)
        else:
            # All processes draw the same order, and each takes its share of it.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            total = len(self) * self.processes
            if self.cumulated_N is not None:
                drawn = torch.rand(total, generator=generator, dtype=torch.float64).numpy()
                order = np.minimum(np.searchsorted(self.cumulated_N, drawn, side="right"), self.size - 1)
            else:
                order = torch.randperm(self.size, generator=generator).numpy()
                order = np.resize(order, total)
        first = self.skip[1] if self.epoch == self.skip[0] else 0
        return ((self.epoch, int(position)) for position in order[self.rank :: self.processes][first:])


def balancing_weights(labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """[N], so that each class is drawn equally often; with several classes per image, its rarest one counts."""
    if labels.ndim == 1:
        weights_N: npt.NDArray[np.float64] = 1.0 / np.bincount(labels)[labels]
        return weights_N
    counts_K = np.maximum(labels.sum(axis=0, dtype=np.int64), 1)
    weights_N = np.where(labels > 0, 1.0 / counts_K, 1.0 / len(labels)).max(axis=1)
    return weights_N
