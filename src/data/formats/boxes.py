"""What all formats with boxes share: from what their files say to a table with splits."""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Unpack

import numpy as np
import numpy.typing as npt

from src.data.annotations.checked import CheckedBoxes, check_boxes
from src.data.annotations.class_names import as_model_spells
from src.data.annotations.findings import BoxFindings
from src.data.annotations.kept import kept_boxes
from src.data.annotations.raw import RawBoxes
from src.data.boxes import Boxes
from src.data.given_splits import group_numbers, rows_of_given
from src.data.instances import Instances
from src.data.mask_files.drawn_counts import drawn_counts
from src.data.masks import GROUND, MOST_CLASSES, Masks
from src.data.module import ImageDataModule
from src.data.outlined_masks import OutlinedMasks
from src.data.source import DataArguments
from src.data.table import ImageTable
from src.data.targets import Rows, Targets
from src.files.printable import printable
from src.settings.errors import ConfigError
from src.settings.options import tasks_for
from src.settings.plurals import number_of
from src.settings.rules import one_of
from src.settings.target_kinds import TARGET_KINDS


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
    def wants_outlines(self) -> bool:
        """Whether the pixels of each object matter, and not its box alone."""
        return TARGET_KINDS[self.targets].outlines

    @property
    def reads_objects(self) -> bool:
        """Whether the targets are made of objects; a table may have others."""
        return True

    @property
    def findings(self) -> BoxFindings | None:
        return self.found.findings if self.reads_objects else None

    @property
    def found(self) -> CheckedBoxes:
        if self._found is None:
            if not self.root.is_dir():
                raise ConfigError(f"data.root='{self.root}' is not a folder.")
            own = {name: value for name, value in vars(self).items() if name not in self._of_all_formats}
            how = f"{self.max_megapixels} {self.on_error} {self.targets}"
            settings = f"{type(self).__qualname__} {how} {sorted(own.items())}"
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
        targets = self.targets_of(found, notes)
        rows = self.rows_to_use(found, notes)
        groups_N = None if found.groups is None else group_numbers(found.groups[rows], notes)
        paths, targets = found.paths[rows], targets.take(rows)
        needs_train = self.known_classes is None and self.split_plan.file is None
        given = rows_of_given(found.splits[rows], f"data.root='{self.root}'", needs_train, notes)
        splits = self.split_plan.split(given, targets, paths, notes, groups_N)
        shown_K = targets.counts(splits["train"])
        if self.known_classes is None and shown_K is not None and not shown_K.any():
            raise ConfigError(f"data.root='{self.root}': no image to train on has a box.")
        return ImageTable(paths, targets, splits, self.root, groups_N=groups_N, notes=list(map(printable, notes)))

    def targets_of(self, found: CheckedBoxes, notes: list[str]) -> Targets:
        """Of the kind that the task trains on. A new kind that is made of objects gets a line here."""
        return self.masks_of(found, notes) if self.targets == "masks" else self.boxes_of(found, notes)

    def boxes_of(self, found: CheckedBoxes, notes: list[str]) -> Boxes:
        """Of all images. Raises ConfigError without a box to train on, and for classes that a trained model lacks."""
        self.require_boxes(found)
        names = as_model_spells(found.class_names, self.known_classes, notes)
        classes = self.as_known(f"data.root='{self.root}'", found.class_M, names)
        values = places_of(found)
        if self.wants_outlines:
            crowd_M = found.crowd_M | self.without_outline(found, notes)
            assert found.outlines is not None
            return Instances(values, classes.names, found.boxes_xyxy, classes.values, crowd_M, found.outlines)
        return Boxes(values, classes.names, found.boxes_xyxy, classes.values, found.crowd_M)

    def masks_of(self, found: CheckedBoxes, notes: list[str]) -> Masks:
        """A class for each pixel of all images, drawn from outlines; what belongs to no object is background."""
        self.require_boxes(found)
        where = f"data.root='{self.root}'"
        own = [GROUND, *(name for name in found.class_names if name != GROUND)]
        if len(own) > MOST_CLASSES:
            raise ConfigError(f"{where} has {len(own)} classes with the background; {MOST_CLASSES} are the most.")
        names = as_model_spells(own, self.known_classes, notes)
        classes = self.as_known(where, np.arange(len(names)), names)
        ids = classes.values[[own.index(name) for name in found.class_names]].astype(np.uint8)[found.class_M]
        unclear_M = found.crowd_M | self.without_outline(found, notes)
        assert found.outlines is not None
        places, ground = places_of(found), int(classes.values[0])
        drawn = OutlinedMasks(places, found.boxes_xyxy, ids, unclear_M, found.outlines, ground)
        counts = drawn_counts(drawn, len(classes.names), self.cache, self.num_workers)
        return Masks(np.column_stack([np.arange(len(places)), places[:, 2:], counts]), classes.names, drawn)

    def require_boxes(self, found: CheckedBoxes) -> None:
        if self.known_classes is None and not len(found.class_M):
            raise ConfigError(
                f"data.root='{self.root}': none of the {len(found.paths):,} images has a box that can be used. "
                + printable(" ".join(found.findings.notes()))
            )

    def without_outline(self, found: CheckedBoxes, notes: list[str]) -> npt.NDArray[np.bool_]:
        """Which objects have a box alone, [M]. Raises ConfigError if none has more."""
        missing_M = np.ones(len(found.class_M), dtype=np.bool_) if found.outlines is None else ~found.outlines.present
        if len(missing_M) and missing_M.all():
            raise ConfigError(
                f"data.root='{self.root}': its objects have boxes alone, and this task learns their outlines. Bring "
                "data with them (COCO json with `segmentation`, YOLO's label files with polygons), or choose "
                f"{tasks_for('boxes')}."
            )
        if count := int((missing_M & ~found.crowd_M).sum()):
            notes.append(
                f"{count:,} of {len(missing_M):,} objects have a box alone and no outline: nobody trains on them, and "
                "they count neither as found nor as missed."
            )
        return missing_M

    def rows_to_use(self, found: CheckedBoxes, notes: list[str]) -> Rows:
        """All images, or those with boxes (data.without_boxes=drop)."""
        has_boxes = np.zeros(len(found.paths), dtype=np.bool_)
        has_boxes[found.image_M] = True
        if empty := int((~has_boxes).sum()):
            kept = self.without_boxes == "keep"
            outcome = "kept, as images with nothing to find" if kept else "left out"
            which = number_of(empty, "image has", "images have")
            notes.append(f"{which} no boxes: {outcome} (data.without_boxes={self.without_boxes}).")
            if not kept:
                return np.flatnonzero(has_boxes)
        return np.arange(len(has_boxes))


def places_of(found: CheckedBoxes) -> Rows:
    """Of each image where its boxes begin, how many there are, its width and height, int64 [N, 4]."""
    counts_N = np.bincount(found.image_M, minlength=len(found.paths))
    return np.column_stack([np.cumsum(counts_N) - counts_N, counts_N, found.sizes_wh]).astype(np.int64)
