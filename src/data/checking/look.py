"""What there is to know about each image of a data set before training, gathered by worker processes."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.checking.duplicates import Fingerprint, fingerprint
from src.data.decode import UnreadableImage, open_image, open_regular_file
from src.data.missing import where_it_is
from src.data.reading import read_all
from src.data.table import ImageTable
from src.data.targets import Rows

NEEDED_PX = 128  # larger JPEGs are decoded reduced, which is faster and sees damage just as well
DIGEST_BYTES = 16  # of sha256
COLUMNS = np.dtype([
    ("width", np.int32), ("height", np.int32), ("digest", np.uint8, DIGEST_BYTES), ("bits", np.uint8, 16),
    ("gray", np.uint8, 256), ("chroma", np.uint8, 32),
])  # fmt: skip
SEARCHED_FOR = 20  # missing files
# What lies there instead of an image, by how the file begins.
IMPOSTORS = {
    b"version https://git-lfs": "a Git LFS pointer and not the image itself: run git lfs pull",
    b"<!doctype html": "a web page and not an image: most likely a failed download",
    b"<html": "a web page and not an image: most likely a failed download",
}


@dataclass(frozen=True)
class Look:
    """Of one image: why it is no use (`problem` is missing, empty or unreadable), or else what it is.

    `digest` is of the file, or of the pixels where there is no file; `format` is Pillow's name, empty without a file.
    """

    problem: str = ""
    reason: str = ""
    size_px: tuple[int, int] = (0, 0)
    mode: str = ""
    format: str = ""
    digest: bytes = b""
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True)
class Facts:
    """Of the R readable images, and what is wrong with the rest.

    `rows` of the table, ascending; `images_R`: COLUMNS of each, some 350 bytes; `problems`: (problem, reason) by row.
    """

    rows: Rows
    images_R: npt.NDArray[np.void]
    modes: Counter[str]
    formats: Counter[str]
    problems: dict[int, tuple[str, str]]
    wrong_suffix: dict[int, str]  # the format by row


def look_at_images(table: ImageTable, rows: Rows, num_workers: int) -> Facts:
    """Decode each of these images once. Of the first few missing files it says where they may be."""
    found = np.zeros(len(rows), dtype=COLUMNS)
    readable = np.zeros(len(rows), dtype=bool)
    modes, formats = Counter[str](), Counter[str]()
    problems: dict[int, tuple[str, str]] = {}
    wrong_suffix: dict[int, str] = {}
    for position, look in enumerate(read_all(partial(look_at, table), rows, num_workers, "look at images")):
        row = int(rows[position])
        if look.fingerprint is None:
            problems[row] = (look.problem, look.reason)
            continue
        readable[position] = True
        digest, shown = np.frombuffer(look.digest, dtype=np.uint8), look.fingerprint
        found[position] = (*look.size_px, digest, shown.bits, shown.gray, shown.chroma)
        modes[look.mode] += 1
        formats[look.format] += 1
        if look.format and not suffix_fits(str(table.paths[row]), look.format):
            wrong_suffix[row] = look.format
    if table.root is not None:
        for row in [row for row, (problem, _) in problems.items() if problem == "missing"][:SEARCHED_FOR]:
            problems[row] = ("missing", where_it_is(table.root, str(table.paths[row])))
    return Facts(rows[readable], found[readable], modes, formats, problems, wrong_suffix)


def look_at(table: ImageTable, row: int) -> Look:
    file = table.file(row)
    try:
        if file is None:
            image = table.read(row)
            digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes())
            return replace(described(image, image, digest.digest()), format="")
        if not file.exists():
            return Look("missing", "there is no such file")
        if file.is_file() and not file.stat().st_size:
            return Look("empty", "the file has 0 bytes")
        image = table.read(row, NEEDED_PX)
        with open_regular_file(file) as stream:
            file_digest = hashlib.file_digest(stream, "sha256").digest()
        with open_image(file, table.max_megapixels) as header:
            return described(image, header, file_digest)
    except UnreadableImage as error:
        return Look("unreadable", (impostor(file) if file else "") or str(error))
    except OSError as error:
        return Look("unreadable", error.strerror or str(error))


def described(image: Image.Image, header: Image.Image, digest: bytes) -> Look:
    return Look("", "", header.size, header.mode, header.format or "", digest[:DIGEST_BYTES], fingerprint(image))


def impostor(file: Path) -> str:
    """What a file that is no image is instead; an empty string if that is not known."""
    try:
        with open_regular_file(file) as stream:
            begin = stream.read(256).lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    except (OSError, UnreadableImage):
        return ""
    return next((what for mark, what in IMPOSTORS.items() if begin.startswith(mark)), "")


def suffix_fits(path: str, found: str) -> bool:
    """Whether a file name promises the format that Pillow found in it; unknown suffixes promise nothing."""
    promised = Image.registered_extensions().get(Path(path).suffix.lower())
    same = {"MPO": "JPEG", "DIB": "BMP"}  # JPEGs with several images, bitmaps without the file's header
    return promised is None or same.get(promised, promised) == same.get(found, found)
