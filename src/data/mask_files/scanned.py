"""The masks of a data set, looked at once: their values, with the pixels of each.

Shapes: N images, R pairs of an image and a code that it shows.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.annotations.findings import NO_NUMBER, BoxFinding
from src.data.mask_files.codes import Codes
from src.data.mask_files.findings import MaskFindings
from src.data.mask_files.look import Looker, MaskLook
from src.data.mask_files.pairs import Pairs
from src.data.mask_files.pixels import PixelReader
from src.data.mask_files.turns import turns_of
from src.data.reading import read_all
from src.data.table import string_column
from src.settings.plurals import number_of


@dataclass(frozen=True)
class ScannedMasks:
    """Of the images whose masks can be used: `paths`, `masks` and `splits`, text [N], paths below data.root, `groups`
    text [N] or None; `sizes_wh` int64 [N, 2], upright; `turn` int8 [N], EXIF orientation by which the mask is turned.

    `image_R`, `code_R`, `count_R` int64 [R]: which image has so many pixels of which code, by ascending image.
    """

    paths: npt.NDArray[Any]
    masks: npt.NDArray[Any]
    splits: npt.NDArray[Any]
    groups: npt.NDArray[Any] | None
    sizes_wh: npt.NDArray[np.int64]
    turn: npt.NDArray[np.int8]
    image_R: Codes
    code_R: Codes
    count_R: Codes
    findings: MaskFindings
    notes: list[str]


def scan_masks(pairs: Pairs, root: Path, reader: PixelReader, num_workers: int) -> ScannedMasks:
    """Reads every mask, and the header of every image, with a progress bar."""
    rows, looker = np.arange(len(pairs.images)), Looker(root, reader)
    looks = list(read_all(partial(look_at, looker, pairs), rows, num_workers, "read masks"))
    found = [BoxFinding("mask_missing", path, "", NO_NUMBER, why) for path, why in pairs.missing]
    found += [BoxFinding("mask_without_image", path, "", NO_NUMBER, "") for path in pairs.orphans]
    for image, mask, look in zip(pairs.images, pairs.masks, looks, strict=True):
        if look.problem:
            found.append(BoxFinding(look.problem, image, mask, NO_NUMBER, look.detail))
        elif look.image_problem:
            found.append(BoxFinding("image_unreadable", image, mask, NO_NUMBER, look.image_problem))
    return as_columns(pairs, looks, MaskFindings.of(found))


def look_at(looker: Looker, pairs: Pairs, row: int) -> MaskLook:
    return looker.look(pairs.images[row], pairs.masks[row])


def as_columns(pairs: Pairs, looks: list[MaskLook], findings: MaskFindings) -> ScannedMasks:
    rows = [row for row, look in enumerate(looks) if not look.problem]
    kept, notes = [looks[row] for row in rows], list(pairs.notes)
    turn = turns_of(kept, notes)
    if kept:
        modes = Counter(look.mode for look in kept).most_common()
        notes.append(
            f"{number_of(len(kept), 'mask')}: " + ", ".join(f"{count:,} of mode {mode}" for mode, count in modes) + "."
        )

    def joined(columns: list[Codes]) -> Codes:
        return np.concatenate([np.empty(0, dtype=np.int64), *columns])

    return ScannedMasks(
        paths=string_column(pairs.images[row] for row in rows),
        masks=string_column(pairs.masks[row] for row in rows),
        splits=string_column(pairs.splits[row] for row in rows),
        groups=None if pairs.groups is None else string_column(pairs.groups[row] for row in rows),
        sizes_wh=np.array([look.upright_wh for look in kept], dtype=np.int64).reshape(-1, 2),
        turn=turn,
        image_R=np.repeat(np.arange(len(kept)), np.array([len(look.codes) for look in kept], dtype=np.int64)),
        code_R=joined([look.codes for look in kept]),
        count_R=joined([look.counts for look in kept]),
        findings=findings,
        notes=notes,
    )
