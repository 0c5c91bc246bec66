"""Images with masks as files: coloured rectangles, and what class each pixel is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Mask = npt.NDArray[np.uint8]
SIZE_WH = (48, 36)
COLORS = np.array([[40, 40, 40], [220, 60, 50], [50, 90, 230], [60, 200, 90]], dtype=np.uint8)  # of classes 0 to 3


def mask_of(number: int, size_wh: tuple[int, int] = SIZE_WH, classes: int = 3) -> Mask:
    """Class 0, with a rectangle of each other class; never symmetric."""
    random = np.random.default_rng(number)
    width, height = size_wh
    mask_HW = np.zeros((height, width), dtype=np.uint8)
    for k in range(1, classes):
        left, top = int(random.integers(0, width // 2)), int(random.integers(0, height // 2))
        mask_HW[top : top + height // 3, left : left + width // 4] = k
    return mask_HW


def image_of(mask_HW: Mask, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 30, (*mask_HW.shape, 3), dtype=np.uint8)
    return Image.fromarray(COLORS[mask_HW % len(COLORS)] + noise // 2)


def write_pair(
    image: Path, mask: Path, mask_HW: Mask, as_file: Callable[[Mask], Image.Image] = Image.fromarray
) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    image_of(mask_HW, seed=sum(map(ord, image.stem))).save(image)
    as_file(mask_HW).save(mask)


def write_masks(
    root: Path, count: int = 12, as_file: Callable[[Mask], Image.Image] = Image.fromarray, classes: int = 3
) -> Path:
    """root/images and root/masks, with `count` pairs 00.png, ..."""
    for number in range(count):
        name = f"{number:02d}.png"
        write_pair(root / "images" / name, root / "masks" / name, mask_of(number, classes=classes), as_file)
    return root
