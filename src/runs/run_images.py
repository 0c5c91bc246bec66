"""The images that a finished run was trained on or measured with, by the paths in its tables. Imports no torch."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from src.data.decode import UnreadableImage, read_sized
from src.data.formats.digit_images import digit_at
from src.data.formats.digit_scene import scene_at


def read_image(settings: Mapping[str, Any], path: str, side_px: int) -> tuple[Image.Image, tuple[int, int]] | None:
    """With width and height of the whole image; None where the images are no files, or not there any more.

    `settings`: of the run, with dotted keys. `side_px`: shorter side of the image, or more.
    """
    drawn = digit_at(path)
    with suppress(KeyError, TypeError, ValueError):  # runs on other data
        drawn = drawn or scene_at(path, int(settings["data.scenes"]), int(settings["data.scene_px"]))
    if drawn is not None:
        return drawn, drawn.size
    for root in (settings.get("data.root"), Path(str(settings.get("data.file") or "")).parent):
        if root and (file := Path(root) / path).is_file():
            try:
                return read_sized(file, side_px)
            except UnreadableImage:
                return None
    return None
