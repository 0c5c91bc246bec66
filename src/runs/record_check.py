"""Whether what a checkpoint says of its run is of the right kind and in range, before anything is built of it."""

import re
import reprlib
from pathlib import Path
from typing import Any

from src.settings.backbones import BACKBONES, OWN_HEADS
from src.settings.errors import ConfigError
from src.settings.options import task_names
from src.settings.plain_values import MOST_DETECTIONS, NAMES, PREPROCESSING, Rules, is_number, is_number_or_none
from src.settings.target_kinds import TARGET_KINDS
from src.settings.timm_names import is_timm


def require_named_task(values: Any, file: Path) -> None:
    """Raise ConfigError for a checkpoint or run of a version that named a task by its class."""
    config = values.get("config") if isinstance(values, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if isinstance(task, dict) and "name" not in task and "_target_" in task:
        raise ConfigError(
            f"'{file}' cannot be used: an older version of this project wrote it, whose settings named the task by "
            "a class (task._target_) and not by task.name. Use the version that wrote it (its commit is in the run's "
            "environment.json), or train again."
        )


def require_entries(values: Any, rules: Rules, where: str, file: Path) -> None:
    """Raise ConfigError, naming the first entry below `where` that is wrong, or missing though it is not optional."""
    for entry, (right, wanted) in rules.items():
        value: Any = values
        for key in entry.split("."):
            value = value.get(key, ...) if isinstance(value, dict) else ...
        if value is ... and entry in OPTIONAL:
            continue
        if value is ... or not right(value):
            shown = "is missing" if value is ... else f"is {reprlib.repr(value)}"
            raise ConfigError(
                f"'{file}' cannot be used: its entry {where}{entry} {shown} and not {wanted}. The file is damaged, "
                "or was written by another version of this project."
            )


def is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def names_code(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("_target_"), str)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def are_rates(value: Any) -> bool:
    return isinstance(value, dict) and all(
        re.fullmatch(r"phase_[1-9]\d{0,5}", name) and is_number(rate, 0) for name, rate in value.items()
    )


def are_calibrated(value: Any) -> bool:
    """Whether its thresholds, of whatever number of classes, are scores."""
    return isinstance(value, dict) and all(
        is_number(number, 0, 1) for name, number in value.items() if str(name).startswith("threshold_")
    )


NUMBER = (is_number_or_none, "a finite number")
ENTRIES: Rules = {
    "config": (is_mapping, "settings"),
    "config.backbone": (is_mapping, "settings"),
    "config.backbone.name": (
        lambda name: is_timm(name) or (isinstance(name, str) and name in (*BACKBONES, *OWN_HEADS)),
        "a network of torchvision or timm",
    ),
    "config.backbone.weights": (lambda name: name is None or isinstance(name, str), "a name"),
    "config.head": (is_mapping, "settings"),
    "config.task": (is_mapping, "settings"),
    "config.task.name": (lambda name: name in task_names(), f"one of {', '.join(task_names())}"),
    "config.task.targets": (lambda kind: kind in TARGET_KINDS, f"one of {', '.join(TARGET_KINDS)}"),
    "config.task.monitor": (is_text, "the name of a metric"),
    "config.task.mode": (lambda mode: mode in ("max", "min"), "max or min"),
    "config.seed": (lambda v: isinstance(v, int), "a whole number"),
    "config.data": (names_code, "settings of data"),
    "config.loss": (lambda v: v == {} or names_code(v), "settings of a loss"),
    "config.freeze.phases": (
        lambda v: isinstance(v, list) and bool(v) and all(isinstance(one, dict) and "train" in one for one in v),
        "a list of phases",
    ),
    "config.channels_last": (lambda value: isinstance(value, bool), "true or false"),
    "config.matmul_precision": (lambda name: name in ("highest", "high", "medium"), "highest, high or medium"),
    "config.output_dir": (is_text, "a path"),
    "class_names": NAMES,
    **{f"preprocessing.{entry}": rule for entry, rule in PREPROCESSING.items()},
    "data_fingerprint": (is_text, "a text"),
    "versions": (is_mapping, "versions of packages"),
    "run_id": (is_text, "a text"),
    "network": (is_mapping, "settings"),
    "network.max_detections": (
        lambda v: isinstance(v, int) and v is not True and 1 <= v <= MOST_DETECTIONS,
        f"a whole number from 1 to {MOST_DETECTIONS}",
    ),
    "network.finest_stride": (lambda v: isinstance(v, int) and v in (4, 8, 16, 32), "4, 8, 16 or 32"),
    "rates": (are_rates, "numbers by phase"),
    "calibration": (are_calibrated, "numbers, of which thresholds are 0 to 1"),
    "calibration.temperature": (lambda value: is_number(value, 1e-6, 1e6), "a finite number above 0"),
    "calibration.score_slope": (lambda value: is_number(value, 1e-6, 1e6), "a finite number above 0"),
    "calibration.score_shift": (lambda value: is_number(value, -1e6, 1e6), "a finite number"),
    "calibration.ood_score_p50": NUMBER,
    "calibration.ood_score_p95": NUMBER,
    "calibration.ood_score_p99": NUMBER,
}
OPTIONAL = (
    "run_id",
    "network",
    "network.max_detections",
    "network.finest_stride",
    "rates",
    "preprocessing.resize_mode",
    "preprocessing.keeps_shape",
    *(entry for entry in ENTRIES if "calibration" in entry),
)
