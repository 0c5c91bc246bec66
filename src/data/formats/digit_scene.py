"""One scene of handwritten digits on a coloured ground, with the box and the mask of each: drawn, so nothing is stored.

Shapes: S side of a scene in pixels, M digits in it. Imports no torch.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.formats.digit_images import digit_pixels

DIGITS = (2, 6)  # least and most of a scene
SIDES_PX = (16, 40)  # of a digit's square, where it is found as an object; the ink is smaller
LARGE_SIDES_PX = (32, 64)  # where its pixels are to be found
OBJECTS, PIXELS = "digit_scenes", "large_digit_scenes"  # kinds of scenes, as their paths begin
INK = 0.35  # share of full black from which a pixel belongs to a digit
MAX_OVERLAP = 0.05  # intersection over union of two boxes
TRIES = 20  # to find a place
SHARES = {"train": 0.68, "val": 0.12, "test": 0.2}  # of the scenes, and of the digits that they are drawn of


@dataclass(frozen=True)
class Scene:
    """`pixels` uint8 [S, S, 3]. `digits` int64 [M]: rows of the digit set. `boxes_xyxy` float32 [M, 4] in pixels, x2
    and y2 exclusive. `instances` uint8 [S, S]: 0 = ground, m + 1 = the m-th digit.
    """

    pixels: npt.NDArray[np.uint8]
    digits: npt.NDArray[np.int64]
    boxes_xyxy: npt.NDArray[np.float32]
    instances: npt.NDArray[np.uint8]


def shared_out(count: int) -> dict[str, npt.NDArray[np.int64]]:
    """Numbers below `count` by split, evenly spread."""
    ends = np.cumsum(list(SHARES.values()))
    places = np.random.default_rng(0).permutation(count)
    parts = np.split(places, (ends[:-1] * count).round().astype(np.int64))
    return {split: np.sort(part) for split, part in zip(SHARES, parts, strict=True)}


def pools(scenes: int) -> dict[int, npt.NDArray[np.int64]]:
    """By scene, of how many there are, the digits that it may show: those of its split."""
    digits = shared_out(len(digit_pixels()))
    return {row: digits[split] for split, rows in shared_out(scenes).items() for row in rows.tolist()}


def digit_sides(kind: str, side_px: int) -> tuple[int, int]:
    """Of the squares of digits in a scene of this kind and size, least and most."""
    return SIDES_PX if kind == OBJECTS else (LARGE_SIDES_PX[0], min(LARGE_SIDES_PX[1], side_px - 1))


def scene_path(number: int, kind: str = OBJECTS) -> str:
    """What a scene, which is no file, is called."""
    return f"{kind}/{number:04d}"


def scene_at(path: str, scenes: int, side_px: int) -> Image.Image | None:
    """The scene that is called so, of so many; None if none is."""
    found = re.fullmatch(rf"({OBJECTS}|{PIXELS})/(\d{{4,9}})", path)
    if found is None or int(found[2]) >= scenes:
        return None
    number = int(found[2])
    scene = draw_scene(number, pools(scenes)[number], side_px, digit_sides(found[1], side_px))
    return Image.fromarray(scene.pixels)


def draw_scene(number: int, pool: npt.NDArray[np.int64], side_px: int, sides_px: tuple[int, int] = SIDES_PX) -> Scene:
    """The scene of this number, always the same, of digits from the `pool` whose squares have such sides."""
    random = np.random.default_rng([number, side_px])
    canvas = ground(random, side_px)
    instances = np.zeros((side_px, side_px), dtype=np.uint8)
    digits: list[int] = []
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(random.integers(DIGITS[0], DIGITS[1] + 1)):
        digit = int(random.choice(pool))
        ink = inked(digit, int(random.integers(sides_px[0], sides_px[1] + 1)))
        color = random.uniform(0.6, 1.0, 3)
        if (place := find_place(random, ink >= INK, boxes, side_px)) is None:
            continue
        top, left, box = place
        square = np.s_[top : top + len(ink), left : left + len(ink)]
        canvas[square] = canvas[square] * (1 - ink[..., None]) + ink[..., None] * color
        digits.append(digit)
        boxes.append(box)
        instances[square][ink >= INK] = len(digits)
    canvas += random.normal(0, 0.03, canvas.shape)
    pixels = (np.clip(canvas, 0, 1) * 255).astype(np.uint8)
    return Scene(pixels, np.array(digits), np.array(boxes, dtype=np.float32).reshape(-1, 4), instances)


def ground(random: np.random.Generator, side_px: int) -> npt.NDArray[np.float64]:
    """Soft dark colours [S, S, 3], 0..0.5."""
    spots = Image.fromarray((random.random((4, 4, 3)) * 255).astype(np.uint8))
    return np.asarray(spots.resize((side_px, side_px), Image.Resampling.BICUBIC), dtype=np.float64) / 510


def inked(digit: int, side_px: int) -> npt.NDArray[np.float64]:
    """How black each pixel of a digit is, 0..1 [side, side]."""
    image = Image.fromarray(digit_pixels()[digit]).resize((side_px, side_px), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float64) / 255


def find_place(
    random: np.random.Generator, ink: npt.NDArray[np.bool_], boxes: list[tuple[int, int, int, int]], side_px: int
) -> tuple[int, int, tuple[int, int, int, int]] | None:
    """Top and left of a digit's square, and its box, where it covers no other; None if there is no such place."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    for _ in range(TRIES):
        top, left = random.integers(0, side_px - len(ink) + 1, 2).tolist()
        box = (left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
        if all(overlap(box, other) < MAX_OVERLAP for other in boxes):
            return top, left, box
    return None


def overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (areas - both)
