"""Scenes of digits as image files."""

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
