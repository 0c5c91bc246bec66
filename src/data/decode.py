"""From an image file to RGB pixels. The one place where files are decoded, and where too much is refused."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageOps

from src.data.rgb import to_rgb

IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2",
}  # fmt: skip
MAX_MEGAPIXELS = 180.0  # about where Pillow itself refuses: headers beyond it are most often attacks or damage
# The longer side, in lengths of the shorter one. Scaling the shorter side of a line of pixels to what a network takes
# makes gigabytes of it: 1 x 20,000 pixels become 224 x 4,480,000.
MAX_ASPECT_RATIO = 1000
# A JPEG is decoded at 1/2, 1/4 or 1/8 if its shorter side then still has this many times the pixels that are needed.
# docs/performance.md has the measured difference.
DRAFT_MARGIN = 3.0


class UnreadableImage(Exception):
    """The file is missing, empty, damaged, no image, or too large or too thin to decode or scale safely."""


def read_rgb(
    path: str | Path | BinaryIO, needed_px: int | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> Image.Image:
    """The image as a person sees it: RGB, 8 bits, upright by its EXIF tag, transparency over white, first frame.

    `path` is of the file, or the open file. `needed_px`: what the shorter side will be scaled down to: larger JPEGs may
    then come reduced; None = all pixels. A header that announces more than `max_megapixels` is refused before any pixel
    is decoded. Raises UnreadableImage, with the reason, for whatever cannot be decoded.
    """
    return read_sized(path, needed_px, max_megapixels)[0]


def read_sized(
    path: str | Path | BinaryIO, needed_px: int | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[Image.Image, tuple[int, int]]:
    """As `read_rgb`, with width and height of the whole image, upright."""
    with open_image(path, max_megapixels) as image:
        size_wh = upright_size(image)
        return decode(image, needed_px), size_wh


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an opened image once it is turned as its EXIF tag says."""
    width, height = image.size
    return (height, width) if image.getexif().get(ORIENTATION, 1) in SIDEWAYS else (width, height)


ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # of EXIF: values that swap the sides


@contextmanager
def open_image(
    path: str | Path | BinaryIO, max_megapixels: float = MAX_MEGAPIXELS, formats: tuple[str, ...] | None = None
) -> Iterator[Image.Image]:
    """The image with its header alone, as `decode` takes it. Arguments as in read_rgb.

    `formats` are what the file may be, by Pillow's names; None = whatever Pillow reads. Raises UnreadableImage with the
    reason, also for whatever goes wrong within the block.
    """
    file: Any = path
    try:
        with ExitStack() as stack:
            if isinstance(path, str | Path):
                file = stack.enter_context(open_regular_file(path))
            image = stack.enter_context(Image.open(file, formats=formats))
            refuse_size(image.size, max_megapixels)
            yield image
    except UnreadableImage:
        raise
    # Decoders raise OSError, ValueError, TypeError, SyntaxError, struct.error, DecompressionBombError and more.
    except Exception as error:
        reason = str(error)
        for name in (repr(str(path)), repr(path), repr(file)):
            reason = reason.replace(name, "")
        raise UnreadableImage(reason.strip(" :") or type(error).__name__) from error


def refuse_size(size_wh: tuple[int, int], max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Raise UnreadableImage for more pixels than may be decoded, and for sides too unlike to be scaled."""
    width, height = size_wh
    if width * height > max_megapixels * 1e6:
        raise UnreadableImage(f"{width} x {height} pixels are more than data.max_megapixels={max_megapixels:g}")
    if max(size_wh) > MAX_ASPECT_RATIO * min(size_wh):
        ratio = f"one side is more than {MAX_ASPECT_RATIO} times the other"
        raise UnreadableImage(f"{width} x {height} pixels: {ratio}")


def decode(image: Image.Image, needed_px: int | None = None) -> Image.Image:
    """The pixels of an opened image, as read_rgb gives them. It may be the same object."""
    if needed_px is not None:
        least = round(DRAFT_MARGIN * needed_px)
        image.draft(None, (least, least))  # the smallest scale at which both sides have at least this
    if image.format in ("WEBP", "AVIF") and hasattr(image, "_decoder"):
        image._decoder = FirstFrame(image._decoder)
    ImageOps.exif_transpose(image, in_place=True)
    return to_rgb(image)


class FirstFrame:
    """In the place of Pillow's decoder of a WebP or AVIF, which keeps 4 to 8 bytes per pixel for frames to come.

    Nobody asks for a second frame here, so that the decoder can go before the pixels of the first are copied.
    """

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder

    def get_next(self) -> Any:  # of a WebP
        frame = self.decoder.get_next()
        del self.decoder
        return frame

    def get_frame(self, index: int) -> Any:  # of an AVIF
        frame = self.decoder.get_frame(index)
        del self.decoder
        return frame

    def reset(self) -> None:
        pass


def open_regular_file(path: str | Path) -> BufferedReader:
    """The file, open for reading. Raises UnreadableImage for a pipe, a socket or a device, OSError as `open` does.

    Opening a pipe waits for somebody who writes to it, for good if need be, and opening some devices does something.
    What lies at the path may change after it was looked at, so it is opened without waiting and looked at once more.
    """
    refuse_special(os.stat(path).st_mode)  # noqa: PTH116 - takes paths of both kinds
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        refuse_special(os.fstat(descriptor).st_mode)
        if hasattr(os, "O_NONBLOCK"):
            os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def refuse_special(mode: int) -> None:
    kinds = {
        stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
        stat.S_IFDIR: "a directory",
    }  # fmt: skip
    if not stat.S_ISREG(mode):
        raise UnreadableImage(f"Is {kinds.get(stat.S_IFMT(mode), 'something else')} and not a file")


def scaled_size(size_px: tuple[int, int], shorter_px: int, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Width and height once the shorter side has `shorter_px`, rounded as torchvision does.

    Raises UnreadableImage if that is more than `max_megapixels`, as of a thin image that is scaled up.
    """
    width, height = size_px
    if not min(size_px):
        raise UnreadableImage(f"{width} x {height} pixels")
    longer_px = int(shorter_px * max(size_px) / min(size_px))
    if shorter_px * longer_px > max_megapixels * 1e6:
        raise UnreadableImage(f"{width} x {height} pixels are too long and thin to be scaled")
    return (shorter_px, longer_px) if width <= height else (longer_px, shorter_px)


def fitted_into(longer_px: int, shorter_px: int, sides: tuple[int, int]) -> list[int]:
    """Scaled, up or down, until the longer side has `longer_px` pixels or the shorter one `shorter_px`, whichever comes
    first; no side gets less than 1.
    """
    by_longer = longer_px * min(sides) <= shorter_px * max(sides)
    wanted, side_px = (longer_px, max(sides)) if by_longer else (shorter_px, min(sides))
    return [max(1, wanted * side // side_px) for side in sides]
