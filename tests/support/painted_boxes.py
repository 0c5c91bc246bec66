"""A data set of painted rectangles: images of different shapes, some without boxes."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

COLORS = {"blue": (60, 90, 220), "green": (60, 200, 90), "red": (220, 70, 60)}
SHAPES = ((64, 48), (48, 64), (64, 32), (64, 64))  # width, height

# A training on it in seconds.
QUICK = (
    "task=detection", "data=csv", "data.image_size_px=64", "data.batch_size=3", "head.strides=[8, 16]",
    "data.val_fraction=0.25", "data.test_fraction=0.2",
)  # fmt: skip


def painted_boxes(folder: Path, images: int = 30) -> Path:
    """The csv file of it: up to three boxes per image, every fifth one has none."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows: list[list[object]] = []
    for number in range(images):
        width, height = SHAPES[number % len(SHAPES)]
        pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        for _ in range(0 if number % 5 == 4 else rng.integers(1, 4)):
            left, top = int(rng.integers(0, width - 20)), int(rng.integers(0, height - 20))
            right, bottom = left + int(rng.integers(10, 20)), top + int(rng.integers(10, 20))
            color = str(rng.choice(list(COLORS)))
            pixels[top:bottom, left:right] = COLORS[color]
            rows.append([f"{number:02d}.png", left, top, right, bottom, color])
        if number % 5 == 4:
            rows.append([f"{number:02d}.png", "", "", "", "", ""])
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    with (folder / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "x1", "y1", "x2", "y2", "label"], *rows])
    return folder / "boxes.csv"
