"""From a table of images to batches: the loaders of its splits."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from src.data.cache.features import FeatureDataset, FrozenNetwork, cached_features
from src.data.cache.images import cached_images
from src.data.cache.views import views_worth_keeping
from src.data.dataset import Batch, Collate, ImageDataset
from src.data.samplers import EpochSampler, balancing_weights
from src.data.source import ImageSource
from src.data.targets import Rows
from src.data.transforms import Transform, evaluation_transform, is_random, training_transform
from src.data.workers import begin_worker, workers_that_fit

log = logging.getLogger(__name__)


class ImageDataModule(ImageSource):
    """Base of the data formats. What is set here counts for the loaders that are made from then on; so does batch_size.

    `frozen_network`: with one, loaders give what its frozen part makes of the images, where that is kept; None =
    images. They begin with `resumed_epoch` of a run, of which this process has trained on `resumed_batches` before.
    """

    frozen_network: FrozenNetwork | None = None
    frozen_epochs = 1  # of the phase in which it is frozen, as planned
    resumed_epoch = resumed_batches = 0
    unasked_views: int | None = None  # of each training image, that this phase keeps; None = not decided yet

    def begin_phase(self, network: FrozenNetwork | None, epochs: int) -> None:
        """For loaders of a phase of so many epochs, as planned; `network` as above."""
        self.frozen_network, self.frozen_epochs, self.unasked_views = network, epochs, None

    @contextmanager
    def lent_to(self, trainer: Trainer, network: FrozenNetwork | None) -> Iterator[None]:
        """For loaders before the fit, from which on Lightning says who trains; `network` as above."""
        before = self.trainer, self.frozen_network
        self.trainer, self.frozen_network = trainer, network
        try:
            yield
        finally:
            self.trainer, self.frozen_network = before

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader("train", training=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        # Whether a network can memorise some batches is seen on these.
        overfits = self.trainer is not None and self.trainer.overfit_batches  # type: ignore[attr-defined]
        return self.loader("train" if overfits else "val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader("test")

    def loader(self, split: str, training: bool = False) -> DataLoader[Batch]:
        """Batches of a split (`all`: every image), in order and as evaluation sees them, or as training does."""
        rows = np.arange(len(self.table)) if split == "all" else self.table.splits[split]
        sampler = self.sampler(rows, training)
        # BatchNorm cannot normalise the 1 x 1 feature maps of a single small image in training.
        drop_last = training and len(sampler) % self.batch_size == 1 and len(sampler) > 1
        generator = torch.Generator()  # else every new iterator draws from the global generator
        network = self.frozen_network
        if network is not None and (views := self.views_kept(network)):
            return DataLoader(
                self.feature_dataset(rows, training, network, views), self.batch_size, sampler=sampler,
                collate_fn=lambda batch: batch, drop_last=drop_last, generator=generator,
                pin_memory=torch.cuda.is_available(),
            )  # fmt: skip
        dataset = self.image_dataset(rows, training)
        return self.image_loader(dataset, persistent=True, sampler=sampler, drop_last=drop_last, generator=generator)

    def evaluation_loader(self, rows: Rows) -> DataLoader[Batch]:
        """Batches of these rows, in order and as evaluation sees them, for one look: nothing is kept."""
        dataset = ImageDataset(self.table, rows, self.transform_of(training=False), self.seed, substitute=False)
        return self.image_loader(dataset, generator=torch.Generator())

    def image_loader(self, dataset: ImageDataset, persistent: bool = False, **settings: Any) -> DataLoader[Batch]:
        batches, batch_bytes = -(-len(dataset) // self.batch_size), 3 * self.preprocessing.crop_px**2 * self.batch_size
        processes = self.trainer.num_devices if self.trainer is not None else 1
        workers = workers_that_fit(self.num_workers, batch_bytes, batches, processes)
        self.num_workers = min(self.num_workers, workers)  # from now on
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
            worker_init_fn=begin_worker,
            pin_memory=torch.cuda.is_available(),
            collate_fn=Collate(self.preprocessing.crop_px, self.table.targets),
            **settings,
        )

    def sampler(self, rows: Rows, training: bool) -> EpochSampler:
        trainer, epoch = self.trainer, 0
        if trainer is not None and training:
            # Lightning fills the workers before it first calls set_epoch and, on resuming, before it knows the epoch.
            processed = trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
            epoch = max(processed, self.resumed_epoch)
        rank, processes = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        balanced = training and self.balanced_sampling
        weights_N = balancing_weights(self.table.targets.strata(rows)) if balanced else None
        skip = (self.resumed_epoch, self.resumed_batches * self.batch_size) if training else (0, 0)
        aspects_N = self.table.targets.aspects(rows) if self.preprocessing.keeps_shape else None
        shapes = None if aspects_N is None else (aspects_N, self.batch_size)
        return EpochSampler(len(rows), training, self.seed, epoch, rank, processes, weights_N, skip, shapes)

    def transform_of(self, training: bool, keep: bool = False) -> Transform:
        if training and self.preprocessing.keeps_shape:
            return self.table.targets.training_transform(self.preprocessing, self.augmentation)
        if training:
            return training_transform(self.preprocessing, self.augmentation, keep)
        return evaluation_transform(self.preprocessing)

    def image_dataset(self, rows: Rows, training: bool) -> ImageDataset:
        keep, kept = self.cache.kind == "images", None
        transform = self.transform_of(training, keep)
        if keep:
            crop_scale_min = self.augmentation.crop_scale_min if training else None
            settings = f"{self.preprocessing} {transform.needed_px} {crop_scale_min}"
            kept = cached_images(self.cache, self.table, rows, transform, settings, self.num_workers, self.trainer)
        return ImageDataset(self.table, rows, transform, self.seed, substitute=training, prepared=kept)

    def views_kept(self, network: FrozenNetwork) -> int:
        """Of each training image, as features; 0 = the network sees images in every epoch. The log says what nobody
        asked for, once in a phase.
        """
        if not self.cache.may_keep_features(self.trainer):
            return 0
        if not is_random(self.augmentation):
            return 1
        if self.cache.views is not None:
            return self.cache.views
        if self.unasked_views is None:
            blank_BCHW = torch.zeros((1, 3, *[self.preprocessing.crop_px] * 2), dtype=torch.uint8)
            self.unasked_views, why = views_worth_keeping(
                self.frozen_epochs,
                1 if self.trainer is None else self.trainer.world_size,
                len(self.table.splits["train"]),
                lambda: network.frozen_features(blank_BCHW).nbytes,
                self.cache.most_gb,
                mixed=bool(self.augmentation.mixup or self.augmentation.cutmix),
            )
            if why:
                log.info("%s", why)
        return self.unasked_views

    def feature_dataset(self, rows: Rows, training: bool, network: FrozenNetwork, views: int = 1) -> FeatureDataset:
        """`views` of each image, if they are augmented."""
        transform = self.transform_of(training)
        random = training and is_random(self.augmentation)
        views = views if random else 1
        augmentation = f"{self.augmentation} {views} {self.seed}" if random else ""

        def batches_of_view(view: int) -> Iterable[Batch]:
            if self.cache.kind == "images" and not random:
                dataset = self.image_dataset(rows, training=False)  # networks of one preprocessing share them
            else:
                dataset = ImageDataset(self.table, rows, transform, self.seed, substitute=False)
            return self.image_loader(dataset, sampler=[(view, position) for position in range(len(rows))])

        kept = cached_features(
            self.cache, self.table, rows, views, [str(self.preprocessing), augmentation], batches_of_view, network,
            transform.needed_px, self.trainer,
        )  # fmt: skip
        return FeatureDataset(self.table, rows, training, kept)
