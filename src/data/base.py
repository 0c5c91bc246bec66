"""What all data formats share: datasets that survive damaged files, samplers that can resume, loaders, split.csv.

A format is a subclass of ImageDataModule that says what there is (`scan`). Batches are dicts:

    image       uint8 [B, 3, H, W]   RGB, resized and cropped, augmented if it is a training picture
    label       int64 [B]            index into class_names
    index       int64 [B]            row of the image table
    unreadable  list of (path, reason) met while the batch was made
"""

import csv
import hashlib
import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning import LightningDataModule
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from src.data.decode import UnreadableImage
from src.data.splits import SPLITS
from src.data.transforms import Augmentation, Seeded, Transform, evaluation_transform, training_transform
from src.errors import ConfigError
from src.preprocessing import Preprocessing

log = logging.getLogger("src.data")

Batch = dict[str, Any]
Draw = tuple[int, int]  # (epoch, position in the dataset)

MAX_SUBSTITUTES = 50  # damaged training pictures in a row before a batch goes without


@dataclass
class ImageTable:
    """Every picture of a data set. Columns of equal length N.

    `read(row)` decodes a picture (raising UnreadableImage), `paths` name the pictures to people, `labels_N` index
    `class_names`, and `splits` gives the rows of each split; a split that does not exist is absent.
    """

    read: Callable[[int], Image.Image]
    paths: Sequence[str]
    labels_N: npt.NDArray[np.int64]
    class_names: list[str]
    splits: dict[str, npt.NDArray[np.int64]]
    notes: list[str] = field(default_factory=list)  # what the log should say about the data

    def fingerprint(self) -> str:
        """Changes when a picture is added, taken away, renamed, or gets another label or split."""
        digest = hashlib.sha256()
        for name, rows in sorted(self.splits.items()):
            for row in rows:
                digest.update(f"{name}\t{self.paths[row]}\t{self.class_names[self.labels_N[row]]}\n".encode())
        return digest.hexdigest()[:16]


class ImageDataset(Dataset[Batch]):
    """The pictures of one split. A damaged one is skipped: in training, the next readable one takes its place.

    The augmentation of a picture depends on (seed, epoch, row) alone: not on the number of worker processes, nor on
    what was drawn before, so a resumed run sees what the uninterrupted one would have seen.
    """

    def __init__(
        self, table: ImageTable, rows: npt.NDArray[np.int64], transform: Transform, seed: int, substitute: bool
    ) -> None:
        self.table, self.rows, self.transform, self.seed, self.substitute = table, rows, transform, seed, substitute

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw | int) -> Batch:
        # Lightning's overfit_batches brings its own sampler, which draws plain positions.
        epoch, position = (0, draw) if isinstance(draw, int) else draw
        unreadable: list[tuple[str, str]] = []
        for offset in range(min(MAX_SUBSTITUTES, len(self)) if self.substitute else 1):
            row = int(self.rows[(position + offset) % len(self)])
            try:
                image = self.table.read(row)
            except UnreadableImage as error:
                unreadable.append((str(self.table.paths[row]), str(error)))
                continue
            with Seeded(self.seed, epoch, row):
                return {
                    "image": self.transform(image),
                    "label": int(self.table.labels_N[row]),
                    "index": row,
                    "unreadable": unreadable,
                }
        return {"unreadable": unreadable}


class Collate:
    """Makes a batch of what could be read; with nothing readable, a batch of no pictures."""

    def __init__(self, crop_px: int) -> None:
        self.crop_px = crop_px

    def __call__(self, items: list[Batch]) -> Batch:
        read = [item for item in items if "image" in item]
        size = (0, 3, self.crop_px, self.crop_px)
        return {
            "image": torch.stack([item["image"] for item in read]) if read else torch.empty(size, dtype=torch.uint8),
            "label": torch.tensor([item["label"] for item in read], dtype=torch.int64),
            "index": torch.tensor([item["index"] for item in read], dtype=torch.int64),
            "unreadable": [pair for item in items for pair in item["unreadable"]],
        }


class EpochSampler(Sampler[Draw]):
    """Draws (epoch, position): shuffled anew each epoch by (seed, epoch) alone, and shared out among the processes.

    In training every process gets equally many, a few pictures twice if need be; in evaluation each picture is seen
    exactly once, so that metrics are those of a single process.
    """

    def __init__(self, size: int, training: bool, seed: int, epoch: int = 0, rank: int = 0, processes: int = 1) -> None:
        self.size, self.training, self.seed, self.epoch = size, training, seed, epoch
        self.rank, self.processes = rank, processes

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.training:
            return -(-self.size // self.processes)
        return len(range(self.rank, self.size, self.processes))

    def __iter__(self) -> Iterator[Draw]:
        if not self.training:
            order = list(range(self.size))
        else:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(self.size, generator=generator).tolist()
            total = len(self) * self.processes
            order = (order * -(-total // max(self.size, 1)))[:total]
        return ((self.epoch, position) for position in order[self.rank :: self.processes])


class ImageDataModule(LightningDataModule):
    """Base of the data formats.

    Args:
        preprocessing: of the pretrained weights.
        augmentation: of the training pictures.
        seed: of their order and augmentation.
        batch_size: pictures a batch and process.
        num_workers: processes that read pictures; None = one a core, up to 8; 0 = none but the training process.
        image_size_px, resize_px: override the preprocessing's crop and resize; None keeps them.
        mirror_safe: whether a mirrored picture still shows the same class; False switches horizontal flips off.
        crop_safe: whether a part of a picture still shows the same class; False switches random crops off.
        val_fraction, test_fraction: shares that the format cuts off where it has no such split.
        split_seed: of that cut.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        batch_size: int,
        num_workers: int | None = None,
        image_size_px: int | None = None,
        resize_px: int | None = None,
        mirror_safe: bool = True,
        crop_safe: bool = True,
        val_fraction: float = 0.15,
        test_fraction: float | None = None,
        split_seed: int = 0,
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing.with_size(image_size_px, resize_px)
        self.augmentation = replace(
            augmentation,
            horizontal_flip=augmentation.horizontal_flip if mirror_safe else 0.0,
            crop_scale_min=augmentation.crop_scale_min if crop_safe else None,
        )
        self.seed, self.batch_size = seed, batch_size
        self.num_workers = available_workers() if num_workers is None else num_workers
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.known_classes: list[str] | None = None  # of a trained model: the data then need not show every class
        self.resumed_epoch = 0  # the first epoch of a resumed run
        self._table: ImageTable | None = None

    @abstractmethod
    def scan(self) -> ImageTable:
        """Find the pictures and their labels, and split them. Raises ConfigError if there is nothing to train on."""

    @property
    def table(self) -> ImageTable:
        """What `scan` found, kept."""
        if self._table is None:
            self._table = self.scan()
            for split, rows in self._table.splits.items():
                if not len(rows):
                    raise ConfigError(
                        f"The {split} split is empty: the classes have too few pictures for data.{split}_fraction. "
                        "Raise it, or bring more pictures."
                    )
        return self._table

    @property
    def class_names(self) -> list[str]:
        return self.table.class_names

    def require_readable(self, samples: int = 8) -> None:
        """Raise ConfigError if none of a few training pictures can be read: then something is wrong with all."""
        rows = self.table.splits["train"]
        reasons = []
        for row in rows[:: max(1, len(rows) // samples)]:
            try:
                self.table.read(int(row))
                return
            except UnreadableImage as error:
                reasons.append(f"{self.table.paths[row]}: {error}")
        raise ConfigError("None of the training pictures tried can be read:\n  " + "\n  ".join(reasons))

    def loader(self, split: str, training: bool = False) -> DataLoader[Batch]:
        """Batches of a split (`all`: of every picture there is), in order and as evaluation sees them.

        With `training` they come shuffled and augmented instead.
        """
        rows = np.arange(len(self.table.paths)) if split == "all" else self.table.splits[split]
        trainer, epoch = self.trainer, 0
        if trainer is not None and training:
            # Lightning fills the workers before it first calls set_epoch and, on resuming, before it knows the epoch.
            processed = trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
            epoch = max(processed, self.resumed_epoch)
        sampler = EpochSampler(
            len(rows),
            training,
            self.seed,
            epoch,
            rank=trainer.global_rank if trainer is not None else 0,
            processes=trainer.world_size if trainer is not None else 1,
        )
        if training:
            transform = training_transform(self.preprocessing, self.augmentation)
        else:
            transform = evaluation_transform(self.preprocessing)
        return DataLoader(
            ImageDataset(self.table, rows, transform, self.seed, substitute=training),
            batch_size=self.batch_size,
            sampler=sampler,
            # BatchNorm cannot normalise the 1 x 1 feature maps of a single small picture in training.
            drop_last=training and len(sampler) % self.batch_size == 1 and len(sampler) > 1,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=Collate(self.preprocessing.crop_px),
            generator=torch.Generator(),  # else every new iterator draws from the global generator
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader("train", training=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader("test")

    def write_split_csv(self, path: Path) -> None:
        """One row a picture: path, label, split."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "split"])
            for split in SPLITS:
                for row in self.table.splits.get(split, ()):
                    writer.writerow([self.table.paths[row], self.class_names[self.table.labels_N[row]], split])


def available_workers() -> int:
    """One reading process a core that this process may use, up to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)
