"""A class for each pixel of an image: targets that are as large as the image itself.

Shapes: N images, K classes, H and W pixels of the upright image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from src.data.targets import Kind, Rows, Targets, rarest
from src.evaluation.pixels.confusion import VOID
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation

if TYPE_CHECKING:
    from src.data.transforms import Transform

Mask = npt.NDArray[np.uint8]  # [H, W], class ids, VOID where nobody says what there is

MOST_CLASSES = 255  # ids 0 to 254
GROUND = "background"  # the class of pixels that belong to no object, where objects are what there is
SHOWN_SHARE = 0.005  # of an image's pixels: classes of less are left out of its text
NEAR_COPIES_DIFFER = 0.5  # share of the pixels


@dataclass(frozen=True)
class Masks(Targets):
    """`values` int64 [N, 4 + K]: of each image the row that `read_mask` knows its mask by, its width and height in
    pixels, upright by its EXIF tag, how many pixels are void, and how many belong to each class.

    `read_mask` reads the mask of such a row, uint8 [H, W]; it is pickled for reading processes, and raises
    UnreadableImage. Masks are never resized but by taking the nearest pixel.
    """

    read_mask: Callable[[int], Mask]

    kind: ClassVar[Kind] = "masks"
    one: ClassVar[str] = "mask"
    unlike: ClassVar[str] = "its mask has other pixels"

    def size(self, row: int) -> tuple[int, int]:
        """Width and height of an image in pixels."""
        width, height = self.values[row, 1:3].tolist()
        return width, height

    def pixels(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Of each class, [N, K]."""
        return np.asarray(self.values[rows, 4:])

    def mask(self, row: int) -> Mask:
        return self.read_mask(int(self.values[row, 0]))

    def text(self, row: int) -> str:
        """The classes with their shares of the image, the largest first: `road 61 %;car 3 %`."""
        pixels_K = self.values[row, 4:]
        shares = sorted(zip((pixels_K / max(pixels_K.sum(), 1)).tolist(), self.names, strict=True), reverse=True)
        return ";".join(f"{name} {share:.0%}" for share, name in shares if share >= SHOWN_SHARE)

    def counts(self, rows: Rows) -> npt.NDArray[np.int64]:
        return (self.pixels(rows) > 0).sum(axis=0, dtype=np.int64)  # type: ignore[no-any-return]

    def examples(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Pixels of each class, [K]."""
        return self.pixels(rows).sum(axis=0)  # type: ignore[no-any-return]

    def strata(self, rows: Rows) -> npt.NDArray[np.int64]:
        return rarest(self.pixels(rows) > 0)

    def digest(self, rows: Rows) -> bytes:
        return np.ascontiguousarray(self.values[rows, 1:]).tobytes()

    def differ(self, rows: Rows, others: Rows, near: bool = False) -> npt.NDArray[np.bool_]:
        """By the pixels of each class, not by where they are. Near copies may be frames of a film: only half of the
        pixels must not be of other classes.
        """
        ones, those = self.values[rows, 3:], self.values[others, 3:]
        if not near:
            return np.asarray((ones != those).any(axis=1))
        shares, others_shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) for counts in (ones, those))
        return np.asarray(np.abs(shares - others_shares).sum(axis=1) / 2 > NEAR_COPIES_DIFFER)

    def describe(self, rows: Rows) -> str:
        pixels_K = self.examples(rows)
        void = int(self.values[rows, 3].sum())
        every = max(int(pixels_K.sum()) + void, 1)
        shares = sorted(zip((pixels_K / every).tolist(), self.names, strict=True), reverse=True)
        shown = shares if len(shares) <= 12 else [*shares[:6], *shares[-6:]]
        between = f", {len(shares) - 12} more" if len(shares) > 12 else ""
        listed = ", ".join(f"{name} {percent(share)}" for share, name in shown)
        return f"Pixels in train: {listed}{between}; void {percent(void / every)}"

    def aspects(self, rows: Rows) -> npt.NDArray[np.float64]:
        return np.asarray(self.values[rows, 2] / np.maximum(self.values[rows, 1], 1))

    def labels(self, rows: Rows) -> Self:
        return self.take(rows)

    def sample(self, row: int, size_wh: tuple[int, int]) -> dict[str, Any]:
        """`mask`: tv_tensors.Mask uint8 [H, W] of the image's size, which moves with the pixels."""
        import torch
        from PIL import Image
        from torchvision import tv_tensors

        mask_HW = self.mask(row)
        if mask_HW.shape != (size_wh[1], size_wh[0]):
            mask_HW = np.asarray(Image.fromarray(mask_HW).resize(size_wh, Image.Resampling.NEAREST))
        return {"mask": tv_tensors.Mask(torch.from_numpy(np.array(mask_HW)))}

    def evaluation_sample(self, row: int, size_wh: tuple[int, int]) -> dict[str, Any]:
        """`mask`: uint8 [H, W] in the pixels of the file, in which the network's answer is measured."""
        import torch

        return {"mask": torch.from_numpy(np.array(self.mask(row)))}

    def stack(self, samples: Sequence[Any]) -> list[Any]:
        return list(samples)

    def training_transform(self, preprocessing: Preprocessing, augmentation: Augmentation) -> "Transform":
        from src.data.mask_transforms import training_mask_transform

        return training_mask_transform(preprocessing, augmentation)


def percent(share: float) -> str:
    """With as many digits as tell a rare class from none."""
    return f"{100 * share:.1f} %" if share >= 0.001 or not share else f"{100 * share:.2g} %"


def count_pixels(mask_HW: Mask, classes: int) -> npt.NDArray[np.int64]:
    """void, and each class, [1 + K]."""
    counts_V = np.bincount(mask_HW.reshape(-1), minlength=VOID + 1)
    return np.concatenate([counts_V[VOID:], counts_V[:classes]]).astype(np.int64)
