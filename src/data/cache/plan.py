"""What is computed once and kept: which of it, where, and by which process of a run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer

from src.data.cache.entries import entry_name
from src.data.cache.features import FeatureCache, cached_features
from src.data.cache.images import ImageCache, cached_images
from src.data.features import FrozenNetwork
from src.data.table import ImageTable
from src.data.targets import Rows
from src.data.transforms import Transform


@dataclass(frozen=True)
class CachePlan:
    """The settings of the cache, as in ImageDataModule: `kind` is auto, features, images or none."""

    kind: str
    views: int | None
    folder: Path
    most_gb: float | None

    def keeps_features(self, random: bool, trainer: Trainer | None) -> bool:
        """Whether a frozen network runs once per image and not every epoch. `random`: training images are augmented."""
        if self.kind not in ("auto", "features") or is_partial(trainer):
            return False
        return self.views is not None or not random

    def advises_features(self, random: bool, trainer: Trainer | None) -> bool:
        """Whether they could be kept and are not."""
        return self.kind == "auto" and not is_partial(trainer) and not self.keeps_features(random, trainer)

    def images(
        self, table: ImageTable, rows: Rows, transform: Transform, settings: str, workers: int, trainer: Trainer | None
    ) -> ImageCache:
        """Of these rows, as `transform.prepare` leaves them; `settings` says all that this depends on."""
        entry = self.folder / entry_name("images", table.content_stamp(rows), settings)
        for is_turn, first in one_process_first(trainer):
            if is_turn:
                kept = cached_images(entry, table, rows, transform, workers, self.most_gb, first)
        return kept

    def features(
        self,
        table: ImageTable,
        rows: Rows,
        views: int,
        settings: list[str],
        batches_of_view: Callable[[int], Iterable[dict[str, Any]]],
        network: FrozenNetwork,
        needed_px: int,
        trainer: Trainer | None,
    ) -> FeatureCache:
        """What `network` makes of these rows; `settings` and its weights are all that this depends on."""
        name = entry_name("features", table.content_stamp(rows), *settings, network.frozen_fingerprint())
        for is_turn, first in one_process_first(trainer):
            if is_turn:
                kept = cached_features(
                    self.folder / name, table, rows, views, batches_of_view, network.frozen_features,
                    needed_px, self.most_gb, first,
                )  # fmt: skip
        return kept


def is_partial(trainer: Any) -> bool:
    """Whether this fit sees only a part of the data, as for debugging: then nothing is computed for all of them."""
    if trainer is None:
        return False
    limits = (trainer.limit_train_batches, trainer.limit_val_batches)
    return bool(trainer.fast_dev_run or trainer.overfit_batches or any(limit != 1.0 for limit in limits))


def one_process_first(trainer: Trainer | None) -> Iterable[tuple[bool, bool]]:
    """Two turns, of one process of each machine and of the others: whether it is its turn, and is it that one."""
    first = trainer is None or trainer.local_rank == 0
    yield first, first
    if trainer is not None:
        trainer.strategy.barrier("cache")
    yield not first, first
