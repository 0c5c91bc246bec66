"""Boxes around the objects of each image: targets whose number differs from image to image. Columns, no object per box.

Shapes: N images, M boxes, K classes. Boxes are x1, y1, x2, y2 in pixels of the upright image, x2 and y2 exclusive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from src.data.box_overlaps import unmatched
from src.data.box_sides import LEAST_SIDE_PX, network_scale
from src.data.targets import Kind, Rows, Targets, rarest
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation
from src.settings.plurals import number_of

if TYPE_CHECKING:
    from src.data.transforms import Transform

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Boxes(Targets):
    """`values` int64 [N, 4]: of each image where its boxes begin in the arrays below, how many there are, and the
    image's width and height in pixels, upright by its EXIF tag.

    `boxes_xyxy` float32 [M, 4]: each at least as large as 0 and inside its image. `class_ids` int64 [M], indices into
    `names`. `crowd` bool [M]: regions of many objects (COCO) and difficult objects (VOC), which nobody trains on, and
    which count neither as found nor as missed. The arrays are those of the whole table, also after `take`.
    """

    boxes_xyxy: Floats
    class_ids: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]

    kind: ClassVar[Kind] = "boxes"
    one: ClassVar[str] = "set of boxes"
    unlike: ClassVar[str] = "its boxes are in other places"

    def of(self, row: int) -> slice:
        """Where the boxes of an image lie in the arrays."""
        start, count = self.values[row, :2].tolist()
        return slice(start, start + count)

    def size(self, row: int) -> tuple[int, int]:
        """Width and height of an image in pixels."""
        width, height = self.values[row, 2:].tolist()
        return width, height

    @property
    def largest_count(self) -> int:
        """Boxes in the fullest image."""
        return int(self.values[:, 1].max(initial=0))

    def places(self, rows: Rows) -> tuple[Rows, Rows]:
        """Of all boxes of these images: index into the arrays, and position of the image within `rows`; int64 [m]."""
        starts, counts = self.values[rows, 0], self.values[rows, 1]
        positions_m = np.repeat(np.arange(len(rows)), counts)
        before_m = np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(starts, counts) + np.arange(len(positions_m)) - before_m, positions_m

    def sides_at_network(self, rows: Rows, preprocessing: Preprocessing) -> Floats:
        """Width and height in pixels of the network, of all boxes of these images. float32 [m, 2]."""
        places_m, positions_m = self.places(rows)
        scale_m2 = network_scale(self.values[rows, 2:], preprocessing)[positions_m]
        boxes_m4 = self.boxes_xyxy[places_m]
        return np.asarray((boxes_m4[:, 2:] - boxes_m4[:, :2]) * scale_m2)

    def dropped(self, rows: Rows, preprocessing: Preprocessing) -> str:
        places_m, positions_m = self.places(rows)
        small_m = (self.sides_at_network(rows, preprocessing) < LEAST_SIDE_PX).any(axis=1) & ~self.crowd[places_m]
        if not (count := int(small_m.sum())):
            return ""
        return (
            f"{count:,} of {number_of(len(places_m), 'training box', 'training boxes')}, in "
            f"{number_of(len(np.unique(positions_m[small_m])), 'image')}, have a side under {LEAST_SIDE_PX:g} pixel at "
            f"the network's size ({preprocessing.crop_px}): they are not trained on. A larger data.image_size_px keeps "
            "them; src.check lists them."
        )

    def text(self, row: int) -> str:
        """How many objects of each class: `cat 2;dog 1`."""
        ids, counts = np.unique(self.class_ids[self.of(row)], return_counts=True)
        return ";".join(f"{self.names[k]} {count}" for k, count in zip(ids.tolist(), counts.tolist(), strict=True))

    def present(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Whether an image shows a class, crowds aside, [N, K]."""
        boxes_m, positions_m = self.places(rows)
        present_NK = np.zeros((len(rows), len(self.names)), dtype=np.bool_)
        boxes_m, positions_m = boxes_m[~self.crowd[boxes_m]], positions_m[~self.crowd[boxes_m]]
        present_NK[positions_m, self.class_ids[boxes_m]] = True
        return present_NK

    def counts(self, rows: Rows) -> npt.NDArray[np.int64]:
        return self.present(rows).sum(axis=0, dtype=np.int64)  # type: ignore[no-any-return]

    def strata(self, rows: Rows) -> npt.NDArray[np.int64]:
        """The rarest class that each image shows; one more group for images without boxes."""
        return rarest(self.present(rows))

    def digest(self, rows: Rows) -> bytes:
        boxes_m, _ = self.places(rows)
        columns = self.values[rows, 1:], self.boxes_xyxy[boxes_m], self.class_ids[boxes_m], self.crowd[boxes_m]
        return b"".join(np.ascontiguousarray(column).tobytes() for column in columns)

    def aspects(self, rows: Rows) -> npt.NDArray[np.float64]:
        return np.asarray(self.values[rows, 3] / np.maximum(self.values[rows, 2], 1))

    def labels(self, rows: Rows) -> Self:
        return self.take(rows)

    def differ(self, rows: Rows, others: Rows, near: bool = False) -> npt.NDArray[np.bool_]:
        """Whether a box of one copy has no counterpart in the other. Near copies may be frames of a film, in which
        things move: they only must not have less than half as many boxes, or another class in the same place.
        """
        pairs = zip(rows.tolist(), others.tolist(), strict=True)
        found = [self.contradicts(row, other) if near else self.is_other(row, other) for row, other in pairs]
        return np.array(found, dtype=np.bool_)

    def is_other(self, row: int, other: int) -> bool:
        (one, classes), (others, other_classes) = self.shares(row), self.shares(other)
        if np.array_equal(one, others) and np.array_equal(classes, other_classes):
            return False
        return any(left.any() for left in unmatched(one, classes, others, other_classes))

    def contradicts(self, row: int, other: int) -> bool:
        (one, classes), (others, other_classes) = self.shares(row), self.shares(other)
        if 2 * min(len(one), len(others)) < max(len(one), len(others)):
            return True
        left, other_left = unmatched(one, classes, others, other_classes)
        anything = np.zeros(int(left.sum()), dtype=np.int64), np.zeros(int(other_left.sum()), dtype=np.int64)
        alone, _ = unmatched(one[left], anything[0], others[other_left], anything[1])
        return bool((~alone).any())

    def shares(self, row: int) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Boxes of an image in shares of its width and height, and their classes."""
        where = self.of(row)
        size = np.array(self.size(row) * 2, dtype=np.float32)
        return np.asarray(self.boxes_xyxy[where] / size), self.class_ids[where]

    def describe(self, rows: Rows) -> str:
        boxes_m, _ = self.places(rows)
        empty = int((self.values[rows, 1] == 0).sum())
        negatives = f", {empty:,} without boxes" if empty else ""
        return f"{super().describe(rows)} (images that show it; {number_of(len(boxes_m), 'box', 'boxes')}{negatives})"

    def sample(self, row: int, size_wh: tuple[int, int]) -> dict[str, Any]:
        """`boxes` (BoundingBoxes, XYXY float32 [m, 4], in pixels of an image of this size) and `labels` (class ids
        int64 [m]), both without crowds, which transforms.v2 moves and drops together; and what no transform changes:
        `size_wh` int64 [2] of the file's upright image, and `truth` float32 [M, 6], of all boxes x1, y1, x2, y2 in its
        pixels, class id and 1 for a crowd.
        """
        import torch
        from torchvision import tv_tensors

        where = self.of(row)
        kept = ~self.crowd[where]
        width, height = self.size(row)
        scale = np.array([size_wh[0] / width, size_wh[1] / height] * 2, dtype=np.float32)
        boxes = torch.from_numpy(self.boxes_xyxy[where][kept] * scale)
        canvas = (size_wh[1], size_wh[0])
        return {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=canvas),
            "labels": torch.from_numpy(self.class_ids[where][kept]),
            "size_wh": torch.tensor([width, height]),
            "truth": torch.from_numpy(self.rows_of(row)),
        }

    def rows_of(self, row: int) -> Floats:
        """x1, y1, x2, y2, class id and 1 for a crowd, of each box of an image, float32 [M, 6]."""
        where = self.of(row)
        return np.column_stack([self.boxes_xyxy[where], self.class_ids[where], self.crowd[where]]).astype(np.float32)

    def stack(self, samples: Sequence[Any]) -> list[Any]:
        return list(samples)

    def training_transform(self, preprocessing: Preprocessing, augmentation: Augmentation) -> "Transform":
        from src.data.box_transforms import training_box_transform

        return training_box_transform(preprocessing, augmentation)
