"""What there is to know about the mask of an image before training, for worker processes. Imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from src.data.annotations.headers import header_of
from src.data.decode import UnreadableImage
from src.data.mask_files.codes import Codes
from src.data.mask_files.pixels import LossyMask, PixelReader, counted

UPRIGHT = 1
FIRST_ON_ITS_SIDE = 5  # EXIF orientations from here on exchange width and height


def none() -> Codes:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class MaskLook:
    """`problem`: a kind of MASK_KINDS, with its `detail`, where the mask is no use, else empty. `image_problem`: why
    the image cannot be read; it then counts as upright and as large as its mask. `orientation`: EXIF's, of the image.
    `codes` ascending and their `counts` in pixels.
    """

    problem: str = ""
    detail: str = ""
    image_problem: str = ""
    stored_wh: tuple[int, int] = (0, 0)
    mask_wh: tuple[int, int] = (0, 0)
    orientation: int = UPRIGHT
    mode: str = ""
    codes: Codes = field(default_factory=none)
    counts: Codes = field(default_factory=none)

    @property
    def upright_wh(self) -> tuple[int, int]:
        return self.stored_wh[::-1] if self.orientation >= FIRST_ON_ITS_SIDE else self.stored_wh


@dataclass(frozen=True)
class Looker:
    """Looks at a pair of files, below `root`."""

    root: Path
    reader: PixelReader

    def look(self, image: str, mask: str) -> MaskLook:
        try:
            pixels_HW, mode = self.reader.read(self.root / mask)
        except LossyMask as error:
            return MaskLook("mask_lossy", str(error))
        except (UnreadableImage, OSError) as error:
            return MaskLook("mask_unreadable", self.reason(mask, error))
        height, width = pixels_HW.shape
        stored_wh, orientation, image_problem = (width, height), UPRIGHT, ""
        try:
            stored_wh, orientation = header_of(self.root / image, self.reader.max_megapixels)
        except (UnreadableImage, OSError) as error:
            image_problem = self.reason(image, error)
        codes, counts = counted(pixels_HW)
        found = MaskLook("", "", image_problem, stored_wh, (width, height), orientation, mode, codes, counts)
        if found.mask_wh not in (found.stored_wh, found.upright_wh):
            sizes = f"{width} x {height} pixels, and the image has {' x '.join(map(str, found.upright_wh))}"
            return MaskLook("mask_size", sizes)
        return found

    def reason(self, path: str, error: Exception) -> str:
        file = self.root / path
        if file.is_file() and not file.stat().st_size:
            return "the file has 0 bytes"
        return (error.strerror if isinstance(error, OSError) else None) or str(error)
