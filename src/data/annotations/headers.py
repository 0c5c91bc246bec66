"""Width, height and EXIF orientation of images, from their headers. Shapes: N images. Imports no torch."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from src.cli.progress import progress_bar
from src.data.decode import UnreadableImage, open_image

THREADS = 8
AT_ONCE = 256  # images that a thread takes at once
# Chunks of a PNG that may say how it is turned, with the keywords of those that may say anything.
EXIF_CHUNKS = re.compile(rb"eXIf|(tEXt|zTXt|iTXt)(Raw profile type|XML:com)")
KEYWORD_BYTES = 16


@dataclass(frozen=True)
class Headers:
    """`stored_wh` int64 [N, 2]: pixels as the file has them, 0 where it cannot be read. `orientation` int8 [N]: 1
    (upright) to 8, as EXIF counts. `problems`: why an image cannot be read, by its row.
    """

    stored_wh: npt.NDArray[np.int64]
    orientation: npt.NDArray[np.int8]
    problems: dict[int, str]


def read_headers(root: Path, paths: npt.NDArray[Any], max_megapixels: float) -> Headers:
    """Of images whose `paths` start from the root, text [N]."""
    stored_wh, orientation = np.zeros((len(paths), 2), dtype=np.int64), np.ones(len(paths), dtype=np.int8)
    problems: dict[int, str] = {}

    def read(start: int) -> int:
        part = paths[start : start + AT_ONCE].tolist()
        for row, path in enumerate(part, start=start):
            try:
                stored_wh[row], orientation[row] = header_of(root / path, max_megapixels)
            except UnreadableImage as error:
                problems[row] = str(error)
        return len(part)

    with ThreadPoolExecutor(THREADS) as threads, progress_bar() as progress:
        bar = progress.add_task("read sizes of images", total=len(paths), speed="", loss="")
        for count in threads.map(read, range(0, len(paths), AT_ONCE)):
            progress.update(bar, advance=count)
    return Headers(stored_wh, orientation, dict(sorted(problems.items())))


def header_of(path: Path, max_megapixels: float) -> tuple[tuple[int, int], int]:
    """Size as stored, and EXIF orientation: the one by which `src.data.decode` turns the image."""
    with open_image(path, max_megapixels) as image:
        # Of a PNG, Pillow's own getexif decodes all pixels to reach what may come behind them.
        early = image.format == "PNG" and ("exif" in image.info or not has_late_exif(image))
        exif = Image.Image.getexif(image) if early else image.getexif()
        found = exif.get(ExifTags.Base.Orientation, 1)
        if min(image.size) < 1:
            raise UnreadableImage(f"{image.size[0]} x {image.size[1]} pixels")
        return image.size, found if found in range(1, 9) else 1


def has_late_exif(image: Any) -> bool:
    """Whether EXIF or XMP stands behind the pixels of a PNG."""
    file = image.fp
    if file is None or not image.tile:
        return False
    before = file.tell()
    try:
        file.seek(image.tile[0].offset - 8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            start = file.tell()
            if EXIF_CHUNKS.match(head[4:] + file.read(KEYWORD_BYTES)):
                return True
            file.seek(start + int.from_bytes(head[:4]) + 4)
        return False
    finally:
        file.seek(before)
