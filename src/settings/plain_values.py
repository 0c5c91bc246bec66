"""Whether values out of a file that may be anybody's are of the right kind and in range. Imports no torch."""

import math
from collections.abc import Callable
from typing import Any

INTERPOLATIONS = ("bilinear", "bicubic")  # of torchvision's presets, and of exported files
RESIZE_MODES = ("crop", "fit", "stretch")  # of src/models/preprocessing.py; nothing means crop
LARGEST_PX = 8192  # side of an input: more would be a mistake, or an attack on memory
MOST_CLASSES, LONGEST_NAME = 1_000_000, 1000
MOST_DETECTIONS = 10_000  # boxes that a network finds in an image

Rules = dict[str, tuple[Callable[[Any], bool], str]]  # by entry: the test, and what is right in words


def is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """A finite one within the limits; JSON's whole numbers may be too long for a float."""
    plain = isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53)
    return plain and math.isfinite(value) and low <= value <= high


def is_number_or_none(value: Any) -> bool:
    return value is None or is_number(value)


def is_size(value: Any) -> bool:
    return isinstance(value, int) and is_number(value, 1, LARGEST_PX)


def are_names(value: Any) -> bool:
    """A list of names that are all different."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        return False
    return 1 <= len(value) == len(set(value)) <= MOST_CLASSES and max(map(len, value)) <= LONGEST_NAME


def are_three(value: Any, low: float, high: float) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(is_number(one, low, high) for one in value)


NAMES = (are_names, f"a list of 1 to {MOST_CLASSES:,} different names of 1 to {LONGEST_NAME:,} characters")
PREPROCESSING: Rules = {
    "resize_px": (is_size, f"a whole number from 1 to {LARGEST_PX}"),
    "crop_px": (is_size, f"a whole number from 1 to {LARGEST_PX}"),
    "interpolation": (lambda v: v in INTERPOLATIONS, f"one of {', '.join(INTERPOLATIONS)}"),
    "mean": (lambda v: are_three(v, -1e3, 1e3), "three finite numbers"),
    "std": (lambda v: are_three(v, 1e-6, 1e3), "three finite numbers above 0"),
    "resize_mode": (lambda v: v in RESIZE_MODES, f"one of {', '.join(RESIZE_MODES)}"),
    "keeps_shape": (lambda v: isinstance(v, bool), "true or false"),
}
