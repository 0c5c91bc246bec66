"""Scenes of digits as image files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from src.data.formats.digit_scene import draw_scene

POOL = np.arange(500)


def scene(number: int, side_px: int = 64) -> Image.Image:
    return Image.fromarray(draw_scene(number, POOL, side_px).pixels)


def write_scenes(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        scene(number).save(folder / f"{number}.png")
    return folder


def with_odd_images(folder: Path, images: Iterable[Image.Image]) -> None:
    """These as png files, a large one that a tag turns, and a broken one."""
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
    scene(1, 128).resize((1500, 901)).save(folder / "turned.jpg", exif=exif)  # is decoded reduced
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
