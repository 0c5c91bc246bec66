"""The images on which an exported file is compared with its checkpoint, measured and calibrated."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.build.data import data_to_evaluate
from src.data.decode import UnreadableImage, read_rgb
from src.data.formats.digit_images import DIGITS_FILE
from src.data.module import ImageDataModule
from src.models.preprocessing import Preprocessing
from src.runs.record import RunRecord
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

log = logging.getLogger(__name__)

PARITY_IMAGES = 64
# Width and height: enlarged, square, reduced, wide, tall, and the tall one that Pillow resizes columns first.
ODD_SIZES = [(37, 50), (300, 300), (701, 467), (500, 120), (123, 200), (331, 997)]


def run_data(record: RunRecord) -> ImageDataModule | None:
    """The data of the training; None, with a word about it, if they are not there any more."""
    try:
        data = data_to_evaluate({}, record)
        len(data.table)
        return data
    except ConfigError as error:
        log.info("The run's own data cannot be used: %s", error)
        return None


def parity_images(
    images: tuple[Path, list[str]] | None, data: ImageDataModule | None, preprocessing: Preprocessing
) -> list[Image.Image]:
    """RGB images as they are decoded for src.predict, spread over what there is, and some of them in other sizes.

    They are those of `images` (a folder, and paths from there), or else the run's (test, else val, else train), or
    else the embedded digits.
    """
    if images is not None:
        folder, paths = images
        chosen = read_files(folder, spread(paths, PARITY_IMAGES), preprocessing)
        what = "of the given images"
        if not chosen:
            raise ConfigError(f"images: none of these {number_of(len(paths), 'image')} can be read.")
    elif data is not None:
        split = next(name for name in ("test", "val", "train") if name in data.table.splits)
        chosen, _ = read_split(data, split, preprocessing, PARITY_IMAGES)
        what = f"of the {split} images of the run"
    else:
        chosen, what = [], ""
    if not chosen:
        with np.load(DIGITS_FILE) as file:
            grey_NHW = file["images"][:PARITY_IMAGES].astype(np.uint8) * 15
        chosen = [Image.fromarray(grey_HW).convert("RGB") for grey_HW in grey_NHW]
        what = "of the embedded digits, for want of others,"
    resized = [chosen[i % len(chosen)].resize(size) for i, size in enumerate(ODD_SIZES)]
    count = number_of(len(chosen), "image")
    log.info("Comparing on %s %s, %d scaled to other sizes, and 2 of noise", count, what, len(resized))
    return [*chosen, *images_of_nothing(), *resized]


def images_of_nothing() -> list[Image.Image]:
    """Faint noise: of one colour they would have equal scores at many places, of which rounding would choose some."""
    noise = np.random.default_rng(0).integers(-6, 7, (90, 120, 3))
    return [Image.fromarray((level + noise).astype(np.uint8)) for level in (30, 128)]


def test_images(
    data: ImageDataModule | None, preprocessing: Preprocessing, most: int
) -> tuple[str, list[Image.Image], Any]:
    """Of test, or else of val: the split's name, images spread over it, and what Targets.labels has of them.

    No images and None if the data are gone.
    """
    if data is None or not most:
        return "", [], None
    split = "test" if "test" in data.table.splits else "val"
    images, rows = read_split(data, split, preprocessing, most)
    return split, images, data.table.targets.labels(np.array(rows, dtype=np.int64))


def calibration_images(data: ImageDataModule | None, preprocessing: Preprocessing, most: int) -> list[Image.Image]:
    """Of the training, spread over it. Raises ConfigError if they are gone."""
    images = [] if data is None else read_split(data, "train", preprocessing, most)[0]
    if not images:
        raise ConfigError(
            "variants=[int8] learns the ranges of its numbers from training images, and the run's data are not there "
            "any more: bring them back to where they were, or leave int8 out."
        )
    return images


def read_split(
    data: ImageDataModule, split: str, preprocessing: Preprocessing, most: int
) -> tuple[list[Image.Image], list[int]]:
    """Images spread over a split, and their rows in the table."""
    table = data.table
    images, rows = [], []
    for row in spread(table.splits[split].tolist(), most):
        try:
            images.append(table.read(row, preprocessing.resize_px))
            rows.append(row)
        except UnreadableImage as error:
            log.info("Left out: %s: %s", table.paths[row], error)
    return images, rows


def read_files(folder: Path, paths: list[str], preprocessing: Preprocessing) -> list[Image.Image]:
    found = []
    for path in paths:
        try:
            found.append(read_rgb(folder / path, preprocessing.resize_px))
        except UnreadableImage as error:
            log.info("Left out: %s: %s", path, error)
    return found


def spread(items: list[Any], most: int) -> list[Any]:
    """At most so many of them, evenly from first to last."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[i] for i in places]


def to_array(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 [3, H, W]."""
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))
