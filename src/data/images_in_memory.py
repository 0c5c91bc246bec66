"""Images that Python code hands over: arrays, Pillow's images, or files."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.decode import UnreadableImage, decode, read_sized, refuse_size, upright_size
from src.settings.errors import ConfigError

GivenImage = str | Path | Image.Image | npt.NDArray[np.uint8]  # the array: [H, W, 3] RGB, or [H, W] grey


def opened_image(image: GivenImage, place: int, needed_px: int) -> tuple[Image.Image, tuple[int, int]]:
    """RGB as a person sees it, with width and height of the whole; of a file it may come reduced (see read_rgb).

    Raises ConfigError, which names its `place` in the caller's list, if it is no image or one too thin to scale.
    """
    try:
        if isinstance(image, str | Path):
            return read_sized(image, needed_px)
        held = image if isinstance(image, Image.Image) else Image.fromarray(require_pixels(image))
        refuse_size(held.size)
        return decode(held.copy()), upright_size(held)  # a copy: the caller's own stays as it is
    except UnreadableImage as error:
        name = f" ('{image}')" if isinstance(image, str | Path) else ""
        raise ConfigError(f"images[{place}]{name} cannot be used: {error}.") from error


def require_pixels(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The array itself. Raises UnreadableImage if it is not uint8 [H, W, 3] or [H, W] with pixels in it."""
    if not isinstance(array, np.ndarray):
        raise UnreadableImage(f"{type(array).__name__} is neither a path nor an array nor Pillow's image")
    if array.dtype != np.uint8 or not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise UnreadableImage(
            f"an array of {array.dtype} {list(array.shape)} is no image: uint8 [H, W, 3] (red, green, blue) or [H, W] "
            "(grey) is, with values from 0 to 255"
        )
    return array
