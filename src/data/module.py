"""What all data formats share: settings, splits, loaders, split.csv. A format is a subclass that says what there is."""

import logging
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from src.cli.progress import progress_bar
from src.data.cache.stores import cached_features, cached_images, entry_name
from src.data.dataset import Batch, Collate, EpochSampler, FeatureDataset, ImageDataset, balancing_weights
from src.data.decode import MAX_MEGAPIXELS, UnreadableImage
from src.data.splits import SPLITS, cut, fold
from src.data.table import ImageTable, Labels, Rows
from src.data.tables.split_file import read_split_file
from src.data.transforms import Augmentation, Transform, evaluation_transform, training_transform
from src.data.workers import available_workers, end_when_a_batch_is_lost, workers_that_fit
from src.files.csv_files import CsvWriter
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.plain_values import LONGEST_NAME

log = logging.getLogger(__name__)

DEFAULT_TEST_FRACTION = 0.15


class FrozenNetwork(Protocol):
    """A network of which only the head trains."""

    def frozen_fingerprint(self) -> str:
        """Changes with the frozen weights and with the precision in which they compute."""

    def frozen_features(self, images_BCHW: Tensor) -> Tensor:
        """What the head gets to see of images uint8 [B, 3, H, W]."""


class ImageDataModule(LightningDataModule):
    """Base of the data formats. conf/data/folder.yaml says more about each setting.

    Args:
        preprocessing: of the pretrained weights.
        augmentation: of the training images.
        labels: what the task trains on: one class per image, several, or numbers.
        seed: of the order and augmentation of the training images.
        batch_size: images per batch and process.
        known_classes: of a trained model: the data then need not show every class, and no other.
        num_workers: processes that read images; None = one per core, up to 8; 0 = none but the training process.
        image_size_px, resize_px: override the preprocessing's crop and resize; None keeps them.
        mirror_safe: whether a mirrored image still shows the same class; False switches horizontal flips off.
        crop_safe: whether a part of an image still shows the same class; False switches random crops off.
        val_fraction, test_fraction: shares that are cut off where the data have no such split.
        split_seed: of that cut.
        split_file: a csv with the columns path and split instead.
        folds, fold: cross-validation: val is part `fold` of `folds` equal ones.
        balanced_sampling: draw each class equally often.
        max_megapixels: images that are larger count as damaged.
        on_error: what a damaged image does: `skip` it, or `fail` before training.
        cache, cache_views, cache_dir: what is computed once and kept, see src/data/cache/stores.py.
        cache_gb: how large `cache_dir` may become; what was not used for longest is deleted then. None = any size.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        batch_size: int,
        labels: Labels = "classes",
        known_classes: list[str] | None = None,
        num_workers: int | None = None,
        image_size_px: int | None = None,
        resize_px: int | None = None,
        mirror_safe: bool = True,
        crop_safe: bool = True,
        val_fraction: float = 0.15,
        test_fraction: float | None = None,
        split_seed: int = 0,
        split_file: str | None = None,
        folds: int | None = None,
        fold: int = 0,
        balanced_sampling: bool = False,
        max_megapixels: float = MAX_MEGAPIXELS,
        on_error: str = "skip",
        cache: str = "none",
        cache_views: int | None = None,
        cache_dir: str = "logs/cache",
        cache_gb: float | None = None,
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing.with_size(image_size_px, resize_px)
        self.augmentation = replace(
            augmentation,
            horizontal_flip=augmentation.horizontal_flip if mirror_safe else 0.0,
            crop_scale_min=augmentation.crop_scale_min if crop_safe else None,
        )
        self.labels, self.seed, self.batch_size = labels, seed, batch_size
        self.num_workers = workers_that_fit(available_workers() if num_workers is None else num_workers)
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.split_file, self.folds, self.fold = split_file, folds, fold
        self.balanced_sampling, self.max_megapixels, self.on_error = balanced_sampling, max_megapixels, on_error
        self.cache, self.cache_views, self.cache_dir = cache, cache_views, Path(cache_dir).expanduser()
        self.cache_gb = cache_gb
        if cache == "features" and cache_views is None and self.transform_of(training=True).random:
            raise ConfigError(
                "data.cache=features keeps one view of each image, but the training images are augmented: set "
                "augment=none, or data.cache_views=8 to keep eight augmented views of each."
            )
        self.known_classes = known_classes
        self.resumed_epoch = self.resumed_batches = 0
        self.frozen_network: FrozenNetwork | None = None
        self._table: ImageTable | None = None

    def resume_from(self, epoch: int, batches: int) -> None:
        """Begin with this epoch of a run, of which so many batches of this process were trained on before."""
        self.resumed_epoch, self.resumed_batches = epoch, batches

    def train_on_features_of(self, network: FrozenNetwork | None) -> None:
        """Let batches have what the frozen part of this network makes of the images, if it is kept; None = images."""
        self.frozen_network = network

    def use_batch_size(self, batch_size: int) -> None:
        """Make batches of so many images, whatever the settings say."""
        self.batch_size = batch_size

    @abstractmethod
    def scan(self) -> ImageTable:
        """Find the images and their labels, and split them. Raises ConfigError if there is nothing to train on."""

    @property
    def table(self) -> ImageTable:
        """What `scan` found, kept."""
        if self._table is None:
            table = self.scan()
            table.max_megapixels = self.max_megapixels
            if table.label_kind != self.labels:
                raise ConfigError(
                    f"task: it needs {LABEL_WORDS[self.labels]} per image, and these data have "
                    f"{LABEL_WORDS[table.label_kind]}: choose the task for them, or data=csv."
                )
            if long := next((name for name in table.class_names if len(name) > LONGEST_NAME), None):
                raise ConfigError(
                    f"The class '{long[:40]}...' has a name of {len(long)} characters, over {LONGEST_NAME}."
                )
            for split, rows in table.splits.items():
                if not len(rows):
                    raise ConfigError(
                        f"The {split} split is empty: the classes have too few images for data.{split}_fraction. "
                        "Raise it, or bring more images."
                    )
            self._table = table
        return self._table

    @property
    def class_names(self) -> list[str]:
        return self.table.class_names

    # ----------------------------------------------------------------------------------------------------- splits

    def split(
        self,
        given: dict[str, Rows],
        labels: npt.NDArray[Any],
        paths: npt.NDArray[Any],
        notes: list[str],
        groups_N: npt.NDArray[np.int64] | None = None,
    ) -> dict[str, Rows]:
        """The splits of the data: what is given (`all`, or train and perhaps val and test), and what is cut from it.

        Without train, as data to evaluate a model on may be, they are as given.
        """
        if self.split_file is not None:
            given, said = read_split_file(Path(self.split_file).expanduser(), paths)
            notes += said
            if "train" not in given:
                raise ConfigError(f"data.split_file='{self.split_file}' gives no image to train.")
        rows = dict(given)
        if "all" not in rows and "train" not in rows:  # data for a trained model alone
            return rows
        test_fraction = self.test_fraction
        if test_fraction is None:
            test_fraction = DEFAULT_TEST_FRACTION if "all" in rows else 0.0
            if "all" not in rows and "test" not in rows:
                notes.append("There is no test split, so nothing is tested: data.test_fraction=0.15 takes one.")
        if "test" in rows and self.test_fraction:
            notes.append(f"data.test_fraction={self.test_fraction:g} has no effect: the data have a test split.")
        source = rows.pop("all") if "all" in rows else rows.pop("train")

        def parts(pool: Rows, fractions: dict[str, float]) -> dict[str, Rows]:
            fractions = {name: share for name, share in fractions.items() if share and name not in rows}
            groups = None if groups_N is None else groups_N[pool]
            return {name: pool[where] for name, where in cut(labels[pool], fractions, self.split_seed, groups).items()}

        if self.folds is None:
            rows |= parts(source, {"val": self.val_fraction, "test": test_fraction})
        else:
            cut_off = parts(source, {"test": test_fraction})
            pool = np.sort(np.concatenate([cut_off.pop("train"), rows.pop("val", np.empty(0, dtype=np.int64))]))
            groups = None if groups_N is None else groups_N[pool]
            train, val = fold(labels[pool], self.folds, self.fold, self.split_seed, groups)
            rows |= {**cut_off, "train": pool[train], "val": pool[val]}
        rows = {name: rows[name] for name in SPLITS if name in rows}
        if groups_N is not None:
            note_shared_groups(rows, groups_N, notes)
        return rows

    # --------------------------------------------------------------------------------------------------- readability

    def require_readable(self, samples: int = 8) -> None:
        """Raise ConfigError if an image cannot be read (on_error=fail), or if none of a few training images can."""
        if self.on_error == "fail":
            require_all_readable(self.table, self.num_workers)
            return
        rows = self.table.splits["train"]
        reasons = []
        for row in rows[:: max(1, len(rows) // samples)]:
            try:
                self.table.read(int(row))
                return
            except UnreadableImage as error:
                reasons.append(f"{self.table.paths[row]}: {error}")
        raise ConfigError("None of the training images tried can be read:\n  " + "\n  ".join(reasons))

    def require_images_for(self, processes: int) -> None:
        """Raise ConfigError if a split has no image for some process: Lightning would stop that one alone."""
        for split, rows in self.table.splits.items():
            if len(rows) < processes:
                raise ConfigError(
                    f"The {split} split has {len(rows)} images for {processes} processes: lower trainer.devices (and "
                    f"trainer.num_nodes), or bring more images (data.{split}_fraction)."
                )

    # ---------------------------------------------------------------------------------------------------- loaders

    def transform_of(self, training: bool, keep: bool = False) -> Transform:
        if training:
            return training_transform(self.preprocessing, self.augmentation, keep)
        return evaluation_transform(self.preprocessing)

    def sampler(self, rows: Rows, training: bool) -> EpochSampler:
        trainer, epoch = self.trainer, 0
        if trainer is not None and training:
            # Lightning fills the workers before it first calls set_epoch and, on resuming, before it knows the epoch.
            processed = trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
            epoch = max(processed, self.resumed_epoch)
        return EpochSampler(
            len(rows),
            training,
            self.seed,
            epoch,
            rank=trainer.global_rank if trainer is not None else 0,
            processes=trainer.world_size if trainer is not None else 1,
            weights_N=balancing_weights(self.table.labels[rows]) if training and self.balanced_sampling else None,
            skip=(self.resumed_epoch, self.resumed_batches * self.batch_size) if training else (0, 0),
        )

    def loader(self, split: str, training: bool = False) -> DataLoader[Batch]:
        """Batches of a split (`all`: of every image there is), in order and as evaluation sees them.

        With `training` they come shuffled and augmented instead.
        """
        table = self.table
        rows = np.arange(len(table)) if split == "all" else table.splits[split]
        sampler = self.sampler(rows, training)
        # BatchNorm cannot normalise the 1 x 1 feature maps of a single small image in training.
        drop_last = training and len(sampler) % self.batch_size == 1 and len(sampler) > 1
        generator = torch.Generator()  # else every new iterator draws from the global generator
        if self.frozen_network is not None and self.caches_features():
            return DataLoader(
                self.feature_dataset(rows, training, self.frozen_network),
                batch_size=self.batch_size,
                sampler=sampler,
                drop_last=drop_last,
                collate_fn=as_it_is,
                generator=generator,
                pin_memory=torch.cuda.is_available(),
            )
        return self.image_loader(
            self.image_dataset(rows, training),
            persistent=True,
            sampler=sampler,
            drop_last=drop_last,
            generator=generator,
        )

    def evaluation_loader(self, rows: Rows) -> DataLoader[Batch]:
        """Batches of these rows, in order and as evaluation sees them, for one look: nothing is kept."""
        dataset = ImageDataset(self.table, rows, self.transform_of(training=False), self.seed, substitute=False)
        return self.image_loader(dataset, generator=torch.Generator())

    def image_loader(self, dataset: ImageDataset, persistent: bool = False, **settings: Any) -> DataLoader[Batch]:
        workers = self.workers_for(-(-len(dataset) // self.batch_size))
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
            worker_init_fn=end_when_a_batch_is_lost,
            pin_memory=torch.cuda.is_available(),
            collate_fn=Collate(self.preprocessing.crop_px, self.table.labels),
            **settings,
        )

    def workers_for(self, batches: int) -> int:
        """`num_workers`, or for good as many as their batches leave room for in shared memory."""
        batch_bytes = 3 * self.preprocessing.crop_px**2 * self.batch_size
        processes = self.trainer.num_devices if self.trainer is not None else 1
        fitting = workers_that_fit(self.num_workers, batch_bytes, batches, processes)
        self.num_workers = min(self.num_workers, fitting)
        return fitting

    def image_dataset(self, rows: Rows, training: bool) -> ImageDataset:
        if self.cache != "images":
            return ImageDataset(self.table, rows, self.transform_of(training), self.seed, substitute=training)
        transform = self.transform_of(training, keep=True)
        crop_scale_min = self.augmentation.crop_scale_min if training else None
        settings = f"{self.preprocessing} {transform.needed_px} {crop_scale_min}"
        entry = self.cache_dir / entry_name("images", self.table.content_stamp(rows), settings)
        for turn, first in self.one_process_first():
            if turn:
                kept = cached_images(entry, self.table, rows, transform, self.num_workers, self.cache_gb, first)
        return ImageDataset(self.table, rows, transform, self.seed, substitute=training, prepared=kept)

    def caches_features(self) -> bool:
        """Whether a phase that trains the head alone runs the frozen network once per image, and not every epoch."""
        if self.cache not in ("auto", "features") or is_partial(self.trainer):
            return False
        return self.cache_views is not None or not self.transform_of(training=True).random

    def advise(self) -> None:
        """Say how a phase that trains the head alone would be many times faster, if it is not."""
        if self.cache == "auto" and not self.caches_features() and not is_partial(self.trainer):
            log.info(
                "The frozen network sees augmented images anew in every epoch. data.cache_views=8 keeps eight views "
                "of each, augment=none one: training the head alone is then many times faster."
            )

    def feature_dataset(self, rows: Rows, training: bool, network: FrozenNetwork) -> FeatureDataset:
        random = training and self.transform_of(training=True).random
        views = self.cache_views or 1 if random else 1
        augmentation = f"{self.augmentation} {views} {self.seed}" if random else ""
        stamp = self.table.content_stamp(rows)
        name = entry_name("features", stamp, str(self.preprocessing), augmentation, network.frozen_fingerprint())
        entry, needed_px = self.cache_dir / name, self.transform_of(training).needed_px

        def batches_of_view(view: int) -> Iterable[Batch]:
            dataset = ImageDataset(self.table, rows, self.transform_of(training), self.seed, substitute=False)
            return self.image_loader(dataset, sampler=[(view, position) for position in range(len(rows))])

        for turn, first in self.one_process_first():
            if turn:
                kept = cached_features(
                    entry, self.table, rows, views, batches_of_view, network.frozen_features,
                    needed_px, self.cache_gb, first,
                )  # fmt: skip
        dataset = FeatureDataset(self.table, rows, training, kept.features_VN, kept.reasons)
        dataset.kept_open = kept.lock
        return dataset

    def one_process_first(self) -> Iterable[tuple[bool, bool]]:
        """Two turns, of one process of each machine and of the others: whether it is its turn, and is it that one."""
        trainer = self.trainer
        first = trainer is None or trainer.local_rank == 0
        yield first, first
        if trainer is not None:
            trainer.strategy.barrier("cache")
        yield not first, first

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader("train", training=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader("test")

    def write_split_csv(self, path: Path, spreadsheet_safe: bool = True) -> None:
        """One row per image: path, label, split."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = CsvWriter(file, ["path", "label", "split"], spreadsheet_safe)
            for split in SPLITS:
                rows = self.table.splits.get(split, ())
                writer.write_all((str(self.table.paths[row]), self.table.label_text(row), split) for row in rows)


def require_all_readable(table: ImageTable, num_workers: int) -> None:
    """Decode every image of the splits; raise ConfigError, naming the first few, if one cannot be."""
    rows = np.sort(np.concatenate(list(table.splits.values())))
    reasons = DataLoader(
        ReadingTest(table, rows),
        batch_size=16,
        num_workers=num_workers,
        collate_fn=as_it_is,
        worker_init_fn=end_when_a_batch_is_lost,
    )
    damaged: list[str] = []
    with progress_bar() as progress:
        bar = progress.add_task("read all images", total=len(rows), speed="", loss="")
        for batch in reasons:
            damaged += [text for text in batch if text]
            progress.update(bar, advance=len(batch))
    if damaged:
        shown = "\n  ".join(damaged[:10])
        raise ConfigError(
            f"{len(damaged)} of {len(rows)} images cannot be read (data.on_error=fail):\n  {shown}\n"
            "Mend or remove them, or set data.on_error=skip. python -m src.check lists all that is wrong with the data."
        )


class ReadingTest(Dataset[str]):
    """For each image why it cannot be read, with its path; an empty string if it can."""

    def __init__(self, table: ImageTable, rows: Rows) -> None:
        self.table, self.rows = table, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> str:
        row = int(self.rows[position])
        try:
            self.table.read(row)
        except UnreadableImage as error:
            return f"{self.table.paths[row]}: {error}"
        return ""


LABEL_WORDS = {"classes": "one class", "tags": "several classes", "numbers": "numbers"}


def as_it_is(batch: Any) -> Any:
    return batch


def is_partial(trainer: Any) -> bool:
    """Whether this fit sees only a part of the data, as for debugging: then nothing is computed for all of them."""
    if trainer is None:
        return False
    limits = (trainer.limit_train_batches, trainer.limit_val_batches)
    return bool(trainer.fast_dev_run or trainer.overfit_batches or any(limit != 1.0 for limit in limits))


def note_shared_groups(rows: dict[str, Rows], groups_N: npt.NDArray[np.int64], notes: list[str]) -> None:
    """Say so if splits that the data came with share groups: then val and test look better than they are."""
    names = list(rows)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            if shared := len(np.intersect1d(groups_N[rows[one]], groups_N[rows[other]])):
                notes.append(f"Leak: {shared} groups have images in both {one} and {other}.")
