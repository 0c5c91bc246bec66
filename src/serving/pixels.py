"""From an uploaded file to the pixels that a model takes, without torch, which an exported model does not need.

A test compares the result with src/data/transforms.py, pixel by pixel.
"""

from contextlib import ExitStack
from functools import cache
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.decode import UnreadableImage, decode, open_image, scaled_size
from src.models.preprocessing import Preprocessing
from src.serving.budget import DecodingBudget

Pixels = npt.NDArray[np.uint8]

# Uploads come from strangers: Pillow also reads formats that call other programs (EPS) or that nobody maintains.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")


def read_pixels(
    file: BinaryIO,
    preprocessing: Preprocessing,
    size_px: int,
    max_megapixels: float,
    budget: DecodingBudget | None = None,
) -> Pixels:
    """uint8 [3, size_px, size_px], resized as in evaluation.

    With `size_px` larger than `crop_px` there is a margin around the centre, which cropping to `crop_px` takes off
    again. With a `budget`, waits until the image has its share of it. Raises UnreadableImage, also for images so thin
    that scaling them would exceed `max_megapixels`.
    """
    try:
        with ExitStack() as stack:
            with open_image(file, max_megapixels, known_formats()) as opened:
                if preprocessing.resize_mode == "crop":
                    scaled_size(opened.size, preprocessing.resize_px, max_megapixels)
                if budget is not None:
                    stack.enter_context(budget.share(opened.size, opened.format))
                image = decode(opened, preprocessing.resize_px)
            image = resized(image, preprocessing, size_px, max_megapixels)
            del opened  # may be the decoded image, and is then given back before the share is
    except UnreadableImage as error:
        raise UnreadableImage(str(error).replace("data.max_megapixels", "max_megapixels")) from error
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def resized(image: Image.Image, preprocessing: Preprocessing, size_px: int, max_megapixels: float) -> Image.Image:
    """The shorter side scaled to `resize_px` and the centre cut out, or the whole image scaled to `crop_px`."""
    filter_of, side = Image.Resampling[preprocessing.interpolation.upper()], preprocessing.crop_px
    if preprocessing.resize_mode == "stretch":
        return image.resize((side, side), filter_of)
    if preprocessing.resize_mode == "fit":
        width, height = (max(1, side * one // max(image.size)) for one in image.size)
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
