"""What the images of a table are labelled with: columns of the whole table, one class for each kind. Imports no torch.

Shapes: N images, K classes, T numbers, P pairs of images. `rows` are int64 indices into the table.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation

if TYPE_CHECKING:
    from src.data.transforms import Transform

Kind: TypeAlias = str  # the words of task.targets: src/settings/target_kinds.py
Rows = npt.NDArray[np.int64]

MAX_BINS = 10  # of numbers, for spreading them evenly over splits
IMAGES_PER_BIN = 20
SHOWN_CLASSES = 12  # in a description; of more, the largest, the middle and the smallest
SHOWN_TARGETS = 10


@dataclass(frozen=True)
class Targets:
    """One array [N, ...], of which each image has a row that no transform changes, in the order of the table.

    A kind may keep more arrays (boxes: `values` say where each image's begin in them) or paths of files beside the
    images (masks), and then has its own `digest`, `differ`, `sample` and `stack`. `names` are those
    of the K classes or T numbers, in the order of the network's outputs.
    """

    values: npt.NDArray[Any]
    names: list[str]

    kind: ClassVar[Kind]
    noun: ClassVar[tuple[str, str]] = "class", "classes"  # what one name is, and several
    one: ClassVar[str] = "label"  # what an image has one of
    unlike: ClassVar[str] = "they are labelled otherwise"  # of two copies with the same text that differ nevertheless

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Rows) -> Self:
        """Those of these rows alone."""
        return replace(self, values=self.values[rows])

    @abstractmethod
    def text(self, row: int) -> str:
        """As csv files show it; several classes or numbers with ; between them."""

    @abstractmethod
    def counts(self, rows: Rows) -> npt.NDArray[np.int64] | None:
        """Images that show each class, int64 [K]; None where there is nothing to count."""

    def examples(self, rows: Rows) -> npt.NDArray[np.int64] | None:
        """What the network learns each class from, by which losses weigh rare ones: images, int64 [K]."""
        return self.counts(rows)

    def strata(self, rows: Rows) -> npt.NDArray[Any]:
        """What splits spread evenly: a group of each image, int64 [N], or 0 and 1 for each class, uint8 [N, K]."""
        return self.values[rows]

    def digest(self, rows: Rows) -> bytes:
        """Part of the data's fingerprint: changes with the targets of these rows."""
        return self.values[rows].tobytes()

    def differ(self, rows: Rows, others: Rows, near: bool = False) -> npt.NDArray[np.bool_]:
        """Whether two copies of an image contradict each other, bool [P]; `near`: they are only nearly the same."""
        different = np.asarray(self.values[rows] != self.values[others])
        return np.asarray(different.any(axis=tuple(range(1, different.ndim))))

    def dropped(self, rows: Rows, preprocessing: Preprocessing) -> str:
        """A sentence about what of these images' targets a network of this size cannot be trained on, if anything."""
        return ""

    def describe(self, rows: Rows) -> str:
        """How they are spread over the images of train, in one line."""
        counts_K = self.counts(rows)
        assert counts_K is not None
        by_size = sorted(zip(counts_K.tolist(), self.names, strict=True), reverse=True)
        if len(by_size) <= SHOWN_CLASSES:
            return "Classes in train: " + ", ".join(f"{name} {count:,}" for count, name in by_size)
        (most, largest), (least, smallest) = by_size[0], by_size[-1]
        middle = by_size[len(by_size) // 2][0]
        return f"Classes in train: {largest} {most:,} (most), median {middle:,}, {smallest} {least:,} (least)"

    def aspects(self, rows: Rows) -> npt.NDArray[np.float64] | None:
        """Height / width of these images, where the kind knows it."""
        return None

    def labels(self, rows: Rows) -> Any:
        """What these images are compared with when they are measured: one row of an array per image, or more."""
        return self.values[rows]

    def sample(self, row: int, size_wh: tuple[int, int]) -> Any:
        """What goes with one image of so many pixels into a batch, before the transforms, in which
        `torchvision.tv_tensors` move with the pixels.
        """
        return self.values[row]

    def evaluation_sample(self, row: int, size_wh: tuple[int, int]) -> Any:
        """The same where the network is measured, and nothing moves: what its answer is compared with."""
        return self.sample(row, size_wh)

    def training_transform(self, preprocessing: "Preprocessing", augmentation: "Augmentation") -> "Transform":
        """Of images that keep their shape, and of what moves with them."""
        raise NotImplementedError

    def stack(self, samples: Sequence[Any]) -> npt.NDArray[Any] | list[Any]:
        """The samples of a batch as one array, also of none; a list where they do not stack."""
        return np.stack(samples) if samples else self.values[:0]


def rarest(present_NK: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The rarest class that each image shows, [N]; K for those that show none."""
    images, classes = present_NK.shape
    rarity_NK = np.where(present_NK, present_NK.sum(axis=0), images + 1)
    groups_N = np.where(present_NK.any(axis=1), rarity_NK.argmin(axis=1), classes)
    return np.asarray(groups_N, dtype=np.int64)


@dataclass(frozen=True)
class Classes(Targets):
    """One class per image: `values` int64 [N], indices into `names`."""

    kind: ClassVar[Kind] = "classes"

    def text(self, row: int) -> str:
        return self.names[int(self.values[row])]

    def counts(self, rows: Rows) -> npt.NDArray[np.int64]:
        return np.bincount(self.values[rows], minlength=len(self.names)).astype(np.int64)


@dataclass(frozen=True)
class Tags(Targets):
    """Any number of classes per image: `values` uint8 [N, K], 1 for each that it shows."""

    kind: ClassVar[Kind] = "tags"

    def text(self, row: int) -> str:
        return ";".join(self.names[k] for k in np.flatnonzero(self.values[row]))

    def counts(self, rows: Rows) -> npt.NDArray[np.int64]:
        return self.values[rows].sum(axis=0, dtype=np.int64)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Numbers(Targets):
    """Numbers to predict: `values` float32 [N, T], in the units of the data."""

    kind: ClassVar[Kind] = "numbers"
    noun: ClassVar[tuple[str, str]] = "target", "targets"

    def text(self, row: int) -> str:
        return ";".join(f"{value:g}" for value in self.values[row])

    def counts(self, rows: Rows) -> None:
        return None

    def strata(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Up to ten ranges of the first number, each with as many images."""
        values_N = self.values[rows, 0]
        bins = min(max(len(rows) // IMAGES_PER_BIN, 1), MAX_BINS)
        edges = np.quantile(values_N, np.linspace(0, 1, bins + 1)[1:-1])
        return np.asarray(np.searchsorted(edges, values_N), dtype=np.int64)

    def differ(self, rows: Rows, others: Rows, near: bool = False) -> npt.NDArray[np.bool_]:
        return np.zeros(len(rows), dtype=bool) if near else super().differ(rows, others)

    def describe(self, rows: Rows) -> str:
        spans = [
            f"{name} {values_N.min():g} to {values_N.max():g}, mean {values_N.mean():.4g}"
            for name, values_N in zip(self.names[:SHOWN_TARGETS], self.values[rows].T, strict=False)
        ]
        return "Targets in train: " + "; ".join(spans)
