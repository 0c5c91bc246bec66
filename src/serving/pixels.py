"""From an uploaded file to the pixels that a model takes, of which not too many are in memory at once. No torch.

A test compares the result with src/data/transforms.py, pixel by pixel.
"""

import ctypes
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.decode import UnreadableImage, decode, fitted_into, open_image, scaled_size, upright_size
from src.models.preprocessing import Preprocessing

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]  # width and height in pixels

# Uploads come from strangers: Pillow also reads formats that call other programs (EPS) or that nobody maintains.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
# What an image takes while it is decoded, in shares of an image of the other formats. docs/serve.md has the numbers.
WEIGHTS = {"JPEG2000": 2}


class DecodingBudget:
    """A number of megapixels that threads share; who asks first is served first, so that large images get their turn.

    A thread that holds a share never asks for another one, so nobody waits for good.
    """

    def __init__(self, megapixels: float) -> None:
        self.total = max(1, int(megapixels * 1e6))
        self.taken = 0
        self.waiting: deque[object] = deque()
        self.changed = threading.Condition()

    @contextmanager
    def share(self, size_px: tuple[int, int], kind: str | None = None) -> Iterator[None]:
        """Room for an image of this width, height and format (Pillow's name) as long as the block lasts.

        Waits until there is that much. An image of more than the whole budget gets all of it, and is then alone.
        """
        wanted = min(self.total, size_px[0] * size_px[1] * WEIGHTS.get(kind or "", 1))
        ticket = object()
        with self.changed:
            self.waiting.append(ticket)
            try:
                self.changed.wait_for(lambda: self.waiting[0] is ticket and self.taken + wanted <= self.total)
                self.taken += wanted
            finally:
                self.waiting.remove(ticket)
                self.changed.notify_all()
        try:
            yield
        finally:
            with self.changed:
                self.taken -= wanted
                self.changed.notify_all()


def read_pixels(
    file: BinaryIO,
    preprocessing: Preprocessing,
    size_px: int,
    max_megapixels: float,
    budget: DecodingBudget | None = None,
    whole: bool = False,
    held: ExitStack | None = None,
) -> tuple[Pixels, Size]:
    """uint8 [3, size_px, size_px], resized as in evaluation, or of its own shape; and the file's size, upright.

    `whole`: not resized, but for large JPEGs, which are decoded reduced. `held` keeps the share of the budget.

    With `size_px` larger than `crop_px` there is a margin around the centre, which cropping to `crop_px` takes off
    again. With a `budget`, waits until the image has its share of it. Raises UnreadableImage, also for images so thin
    that scaling them would exceed `max_megapixels`.
    """
    try:
        with ExitStack() as stack:
            with open_image(file, max_megapixels, known_formats()) as opened:
                if preprocessing.resize_mode == "crop":
                    scaled_size(opened.size, preprocessing.resize_px, max_megapixels)
                size_wh = upright_size(opened)
                if budget is not None:
                    stack.enter_context(budget.share(opened.size, opened.format))
                image = decode(opened, preprocessing.resize_px)
            if not whole:
                image = resized(image, preprocessing, size_px, max_megapixels)
            if held is not None:
                held.enter_context(stack.pop_all())
            del opened  # may be the decoded image, and is then given back before the share is
    except UnreadableImage as error:
        raise UnreadableImage(str(error).replace("data.max_megapixels", "max_megapixels")) from error
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)), size_wh


def resized(image: Image.Image, preprocessing: Preprocessing, size_px: int, max_megapixels: float) -> Image.Image:
    """The shorter side scaled to `resize_px` and the centre cut out, or the whole image scaled, see Preprocessing."""
    filter_of, side = Image.Resampling[preprocessing.interpolation.upper()], preprocessing.crop_px
    if preprocessing.resize_mode == "stretch":
        return image.resize((side, side), filter_of)
    if preprocessing.keeps_shape:
        width, height = fitted_into(side, preprocessing.resize_px, image.size)
        return image.resize((width, height), filter_of)
    if preprocessing.resize_mode == "fit":
        width, height = fitted_into(side, side, image.size)
        square = Image.new("RGB", (side, side), preprocessing.padding_color)
        square.paste(image.resize((width, height), filter_of), (round((side - width) / 2), round((side - height) / 2)))
        return square
    size = scaled_size(image.size, preprocessing.resize_px, max_megapixels)
    left, top = (crop_start(one, side, size_px) for one in size)
    return image.resize(size, filter_of).crop((left, top, left + size_px, top + size_px))


@cache
def known_formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def crop_start(side_px: int, crop_px: int, size_px: int) -> int:
    """Where a cut of `size_px` begins whose centre crop of `crop_px` is the centre crop of the whole side.

    torchvision rounds where a crop begins, so the two roundings have to be those of one.
    """
    return round((side_px - crop_px) / 2) - round((size_px - crop_px) / 2)


# Options of mallopt in malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def give_freed_memory_back() -> None:
    """Let the C library return the pixels of an image to the system once they are freed.

    glibc takes ever larger blocks from pools of each thread instead, which do not shrink, once such a block was freed:
    eight threads kept 4 GB after images of 50 megapixels. Pillow's blocks have 16 MiB. Does nothing elsewhere.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_THRESHOLD, 8 << 20)
            mallopt(M_TRIM_THRESHOLD, 32 << 20)
