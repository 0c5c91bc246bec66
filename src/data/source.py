"""What all data formats share: settings, the table and its splits, split.csv. A format says what there is."""

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Required

import numpy as np
import numpy.typing as npt
from lightning import LightningDataModule

from src.data.annotations.findings import ReadFindings
from src.data.cache.plan import CachePlan
from src.data.decode import MAX_MEGAPIXELS
from src.data.folders.split_names import listed, same_text
from src.data.reading import require_all_readable, require_some_readable
from src.data.split_plan import SplitPlan
from src.data.splits import SPLITS
from src.data.table import ImageTable
from src.data.targets import Classes, Kind
from src.data.transforms import is_random
from src.data.workers import available_workers, workers_that_fit
from src.files.csv_files import write_csv_file
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation, DataSettings
from src.settings.options import tasks_for
from src.settings.plain_values import LONGEST_NAME
from src.settings.target_kinds import MOVE_WITH_PIXELS, TARGET_KINDS


class DataArguments(DataSettings, total=False):
    """The settings of all formats, and what comes from the task and the pretrained weights; see ImageSource."""

    preprocessing: Required[Preprocessing]
    augmentation: Required[Augmentation]
    seed: Required[int]
    targets: Kind
    known_classes: list[str] | None


class ImageSource(LightningDataModule):
    """A data set with its splits. conf/data/folder.yaml explains the settings that are not named here.

    `preprocessing` is that of the pretrained weights, `targets` are as in task.targets, `seed` is of the order and the
    augmentation in training. With the `known_classes` of a trained model the data need not show each, and no other.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        batch_size: int,
        targets: Kind = "classes",
        known_classes: list[str] | None = None,
        num_workers: int | None = None,
        image_size_px: int | None = None,
        resize_px: int | None = None,
        resize_mode: str | None = None,
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
        sized = preprocessing.keeping_shape if targets in MOVE_WITH_PIXELS else preprocessing.with_size
        self.preprocessing = sized(image_size_px, resize_px, resize_mode)
        self.augmentation = replace(
            augmentation,
            horizontal_flip=augmentation.horizontal_flip if mirror_safe else 0.0,
            crop_scale_min=augmentation.crop_scale_min if crop_safe else None,
            iou_crop=augmentation.iou_crop if crop_safe else 0.0,
        )
        self.seed, self.batch_size, self.balanced_sampling = seed, batch_size, balanced_sampling
        self.num_workers = workers_that_fit(available_workers() if num_workers is None else num_workers)
        self.cache = CachePlan(cache, cache_views, Path(cache_dir).expanduser(), cache_gb)
        file = None if split_file is None else Path(split_file).expanduser()
        self.split_plan = SplitPlan(val_fraction, test_fraction, split_seed, file, folds, fold)
        self.targets, self.known_classes = targets, known_classes
        self.max_megapixels, self.on_error = max_megapixels, on_error
        if cache == "features" and cache_views is None and is_random(self.augmentation):
            raise ConfigError(
                "data.cache=features keeps one view of each image, but the training images are augmented: set "
                "augment=none, or data.cache_views=8 to keep eight augmented views of each."
            )

    @abstractmethod
    def scan(self) -> ImageTable:
        """Find the images and their targets, and split them. Raises ConfigError if there is nothing to train on."""

    @cached_property
    def table(self) -> ImageTable:
        """What `scan` found."""
        table = self.scan()
        table.max_megapixels = self.max_megapixels
        self.require_fitting(table)
        return table

    def require_fitting(self, table: ImageTable) -> None:
        """Raise ConfigError for other targets than the task's, for names without end, and for empty splits."""
        if table.targets.kind != self.targets:
            raise ConfigError(
                f"task: it needs {TARGET_KINDS[self.targets].words} per image, and these data have "
                f"{TARGET_KINDS[table.targets.kind].words}: choose {tasks_for(table.targets.kind)}, or other data."
            )
        if long := next((name for name in table.class_names if len(name) > LONGEST_NAME), None):
            raise ConfigError(f"The class '{long[:40]}...' has a name of {len(long)} characters, over {LONGEST_NAME}.")
        if empty := next((split for split, rows in table.splits.items() if not len(rows)), None):
            raise ConfigError(
                f"The {empty} split is empty: the classes have too few images for data.{empty}_fraction. Raise it, or "
                "bring more images."
            )

    def as_known(self, setting: str, labels_N: npt.NDArray[np.int64], class_names: list[str]) -> Classes:
        """The classes of a set that has its own, as the trained model counts them, if there is one. Names decide.

        Raises ConfigError, which begins with the `setting` that names the set, if the model lacks some of the classes.
        """
        if self.known_classes is None:
            return Classes(labels_N, class_names)
        index_of = {same_text(name): index for index, name in enumerate(self.known_classes)}
        if unknown := [name for name in class_names if same_text(name) not in index_of]:
            known = listed(self.known_classes)
            raise ConfigError(
                f"{setting} has classes that the model lacks: {listed(unknown)}. The model knows: {known}."
            )
        index_K = np.array([index_of[same_text(name)] for name in class_names], dtype=np.int64)
        return Classes(index_K[labels_N], self.known_classes)

    @property
    def findings(self) -> ReadFindings | None:
        """What was wrong with annotations or masks when they were read; None for data without such files."""
        return None

    def require_found(self) -> None:
        """Raise ConfigError if most images are not where they were said to be; not where they were found by looking."""

    def require_readable(self) -> None:
        """Raise ConfigError if an image cannot be read (on_error=fail), or if none of a few training images can."""
        self.require_found()
        if self.on_error == "fail":
            require_all_readable(self.table, self.num_workers)
        else:
            require_some_readable(self.table, self.table.splits["train"])

    def require_images_for(self, processes: int) -> None:
        """Raise ConfigError if a split has no image for some process: Lightning would stop that one alone."""
        for split, rows in self.table.splits.items():
            if len(rows) < processes:
                raise ConfigError(
                    f"The {split} split has {len(rows)} images for {processes} processes: lower trainer.devices (and "
                    f"trainer.num_nodes), or bring more images (data.{split}_fraction)."
                )

    def write_split_csv(self, path: Path, spreadsheet_safe: bool = True) -> None:
        """One row per image: path, label, split."""
        table = self.table
        rows = ((str(table.paths[i]), table.targets.text(i), s) for s in SPLITS for i in table.splits.get(s, ()))
        write_csv_file(path, ["path", "label", "split"], rows, spreadsheet_safe)
