"""Whether what a checkpoint says of its model is of the right kind and in range, before anything is built of it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from src.config import BACKBONES
from src.errors import ConfigError

MAX_PX = 8192  # side of an input: more would be a mistake, or an attack on memory
MAX_CLASSES = 1_000_000
LABEL_KINDS = ("one", "several", "numbers")
INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")


def check_record(record: Any, file: Path) -> None:
    """Raise ConfigError, naming the entry, unless `record` is as src/checkpoint.py's make_record writes it."""
    for entry, (right, wanted) in ENTRIES.items():
        value: Any = record
        for key in entry.split("."):
            value = value.get(key, ...) if isinstance(value, dict) else ...
        if value is ... and entry in OPTIONAL:
            continue
        if value is ... or not right(value):
            shown = "is missing" if value is ... else f"is {repr(value)[:80]}"
            raise ConfigError(
                f"'{file}' cannot be used: its entry finetune.{entry} {shown} and not {wanted}. The file is damaged, "
                "or was written by another version of this project."
            )


def is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_PX


def is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_finite_or_none(value: Any) -> bool:
    return value is None or is_finite(value)


def are_names(value: Any) -> bool:
    """Distinct texts that are not empty."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CLASSES:
        return False
    return all(isinstance(name, str) and name for name in value) and len(set(value)) == len(value)


def are_three(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(map(is_finite, value))


def is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


NUMBER = (is_finite_or_none, "a finite number")
ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "config": (is_mapping, "settings"),
    "config.backbone": (is_mapping, "settings"),
    "config.backbone.name": (lambda name: isinstance(name, str) and name in BACKBONES, "a torchvision classifier"),
    "config.backbone.weights": (lambda name: name is None or isinstance(name, str), "a name"),
    "config.head": (is_mapping, "settings"),
    "config.task": (is_mapping, "settings"),
    "config.task._target_": (is_text, "the name of a task"),
    "config.task.labels": (lambda kind: kind in LABEL_KINDS, f"one of {', '.join(LABEL_KINDS)}"),
    "config.task.monitor": (is_text, "the name of a metric"),
    "config.task.mode": (lambda mode: mode in ("max", "min"), "max or min"),
    "config.channels_last": (lambda value: isinstance(value, bool), "true or false"),
    "config.matmul_precision": (lambda name: name in ("highest", "high", "medium"), "highest, high or medium"),
    "config.output_dir": (is_text, "a path"),
    "class_names": (are_names, f"a list of 1 to {MAX_CLASSES:,} different names"),
    "preprocessing.resize_px": (is_size, f"a whole number from 1 to {MAX_PX}"),
    "preprocessing.crop_px": (is_size, f"a whole number from 1 to {MAX_PX}"),
    "preprocessing.interpolation": (lambda name: name in INTERPOLATIONS, f"one of {', '.join(INTERPOLATIONS)}"),
    "preprocessing.mean": (are_three, "three finite numbers"),
    "preprocessing.std": (lambda value: are_three(value) and min(value) > 0, "three finite numbers above 0"),
    "data_fingerprint": (is_text, "a text"),
    "versions": (is_mapping, "versions of packages"),
    "calibration": (is_mapping, "numbers"),
    "calibration.temperature": (lambda value: is_finite(value) and value > 0, "a finite number above 0"),
    "calibration.ood_score_p50": NUMBER,
    "calibration.ood_score_p95": NUMBER,
    "calibration.ood_score_p99": NUMBER,
}
OPTIONAL = tuple(entry for entry in ENTRIES if entry.startswith("calibration"))
