"""What all formats with boxes share: from what their files say to a table with splits."""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Unpack

import numpy as np

from src.data.annotations.checked import CheckedBoxes, check_boxes
from src.data.annotations.class_names import as_model_spells
from src.data.annotations.findings import BoxFindings
from src.data.annotations.kept import kept_boxes
from src.data.annotations.raw import RawBoxes
from src.data.boxes import Boxes
from src.data.given_splits import group_numbers, rows_of_given
from src.data.module import ImageDataModule
from src.data.source import DataArguments
from src.data.table import ImageTable
from src.data.targets import Rows
from src.files.printable import printable
from src.settings.errors import ConfigError
from src.settings.rules import one_of


class BoxDataModule(ImageDataModule):
    """Base of the formats: each reads its files (`read_annotations`), everything else is done here.

    What a format's own __init__ sets after this one's is taken for settings that its reading depends on: boxes that are
    kept on disk are read anew for other values. conf/data/auto.yaml explains the settings.
    """

    whole_root: ClassVar[bool] = True  # whether any file below data.root may say something about boxes

    def __init__(
        self,
        *,
        root: str,
        without_boxes: Annotated[str, one_of("keep", "drop")] = "keep",
        **settings: Unpack[DataArguments],
    ) -> None:
        super().__init__(**settings)
        self.root, self.without_boxes = Path(root).expanduser(), without_boxes
        self._found: CheckedBoxes | None = None
        self._of_all_formats = set(vars(self)) | {"_of_all_formats"}

    @abstractmethod
    def read_annotations(self) -> RawBoxes:
        """What the files below `self.root` say, unchecked. Raises ConfigError if there are none, or they cannot be
        read.
        """

    @property
    def findings(self) -> BoxFindings:
        """What was found to be wrong when the files were read."""
        return self.found.findings

    @property
    def found(self) -> CheckedBoxes:
        if self._found is None:
            if not self.root.is_dir():
                raise ConfigError(f"data.root='{self.root}' is not a folder.")
            own = {name: value for name, value in vars(self).items() if name not in self._of_all_formats}
            settings = f"{type(self).__qualname__} {self.max_megapixels} {self.on_error} {sorted(own.items())}"
            self._found = kept_boxes(
                self.cache,
                self.root,
                self.whole_root,
                settings,
                lambda: check_boxes(self.read_annotations(), self.root, self.max_megapixels),
            )
        return self._found

    def scan(self) -> ImageTable:
        found = self.found
        if self.on_error == "fail" and (errors := found.findings.errors()):
            raise ConfigError(
                f"data.root='{self.root}' (data.on_error=fail): {printable(errors)}\n"
                "Repair them, or set data.on_error=skip."
            )
        notes = [*found.notes, *found.findings.notes()]
        targets, rows = self.boxes_of(found, notes), self.rows_to_use(found, notes)
        groups_N = None if found.groups is None else group_numbers(found.groups[rows], notes)
        paths, targets = found.paths[rows], targets.take(rows)
        needs_train = self.known_classes is None and self.split_plan.file is None
        given = rows_of_given(found.splits[rows], f"data.root='{self.root}'", needs_train, notes)
        splits = self.split_plan.split(given, targets, paths, notes, groups_N)
        if self.known_classes is None and not targets.counts(splits["train"]).sum():
            raise ConfigError(f"data.root='{self.root}': no image to train on has a box.")
        return ImageTable(paths, targets, splits, self.root, groups_N=groups_N, notes=list(map(printable, notes)))

    def boxes_of(self, found: CheckedBoxes, notes: list[str]) -> Boxes:
        """Of all images. Raises ConfigError without a box to train on, and for classes that a trained model lacks."""
        if self.known_classes is None and not len(found.class_M):
            raise ConfigError(
                f"data.root='{self.root}': none of the {len(found.paths):,} images has a box that can be used. "
                + printable(" ".join(found.findings.notes()))
            )
        names = as_model_spells(found.class_names, self.known_classes, notes)
        classes = self.as_known(f"data.root='{self.root}'", found.class_M, names)
        counts_N = np.bincount(found.image_M, minlength=len(found.paths))
        values = np.column_stack([np.cumsum(counts_N) - counts_N, counts_N, found.sizes_wh]).astype(np.int64)
        return Boxes(values, classes.names, found.boxes_xyxy, classes.values, found.crowd_M)

    def rows_to_use(self, found: CheckedBoxes, notes: list[str]) -> Rows:
        """All images, or those with boxes (data.without_boxes=drop)."""
        has_boxes = np.zeros(len(found.paths), dtype=np.bool_)
        has_boxes[found.image_M] = True
        if empty := int((~has_boxes).sum()):
            kept = self.without_boxes == "keep"
            outcome = "kept, as images with nothing to find" if kept else "left out"
            notes.append(f"{empty:,} images have no boxes: {outcome} (data.without_boxes={self.without_boxes}).")
            if not kept:
                return np.flatnonzero(has_boxes)
        return np.arange(len(has_boxes))
