"""Masks of files as class ids, for whoever needs one: training, evaluation, the check. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.decode import UnreadableImage
from src.data.mask_files.codes import Codes
from src.data.mask_files.pixels import PixelReader, turned_upright
from src.data.masks import Mask
from src.evaluation.pixels.confusion import VOID


@dataclass(frozen=True)
class MaskFiles:
    """Reads masks by row: `masks` text [N] are their paths below `root`, `turn` int8 [N] EXIF orientations by which
    they are turned; pixels of the code `codes[v]` (ascending, int64 [V]) are of the class `ids[v]`, all others void.
    """

    root: Path
    masks: npt.NDArray[Any]
    turn: npt.NDArray[np.int8]
    reader: PixelReader
    codes: Codes
    ids: Mask

    def __call__(self, row: int) -> Mask:
        """uint8 [H, W], upright. Raises UnreadableImage."""
        path = str(self.masks[row])
        try:
            pixels_HW, _ = self.reader.read(self.root / path)
        except (UnreadableImage, OSError) as error:
            raise UnreadableImage(f"its mask {path} cannot be read: {error}") from error
        return turned_upright(self.ids_of(pixels_HW), int(self.turn[row]))

    def ids_of(self, pixels_HW: npt.NDArray[Any]) -> Mask:
        if pixels_HW.dtype == np.uint8:
            table = np.full(256, VOID, dtype=np.uint8)
            small = (self.codes >= 0) & (self.codes < len(table))
            table[self.codes[small]] = self.ids[small]
            return np.asarray(table[pixels_HW])
        if not len(self.codes):
            return np.full(pixels_HW.shape, VOID, dtype=np.uint8)
        places = np.minimum(np.searchsorted(self.codes, pixels_HW), len(self.codes) - 1)
        return np.where(self.codes[places] == pixels_HW, self.ids[places], np.uint8(VOID))
