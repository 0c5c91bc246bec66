"""Whether what a checkpoint says of its model is of the right kind and in range, before anything is built of it."""

from pathlib import Path
from typing import Any

from src.settings.backbones import BACKBONES
from src.settings.errors import ConfigError
from src.settings.plain_values import NAMES, PREPROCESSING, Rules, is_number, is_number_or_none
from src.settings.tasks import task_names

CHECKPOINT_KEY = "finetune"
CALIBRATION_KEY = "calibration"  # below it, in best.ckpt once the run has ended
TRAINED_WEIGHTS_KEY = "trained_state_dict"  # in checkpoints whose state_dict is a moving average of these
LABEL_KINDS = ("classes", "tags", "numbers")


def check_record(record: Any, file: Path) -> None:
    """Raise ConfigError, naming the entry, unless `record` is as src/runs/checkpoint.py's make_record writes it."""
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


def is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


NUMBER = (is_number_or_none, "a finite number")
ENTRIES: Rules = {
    "config": (is_mapping, "settings"),
    "config.backbone": (is_mapping, "settings"),
    "config.backbone.name": (lambda name: isinstance(name, str) and name in BACKBONES, "a torchvision classifier"),
    "config.backbone.weights": (lambda name: name is None or isinstance(name, str), "a name"),
    "config.head": (is_mapping, "settings"),
    "config.task": (is_mapping, "settings"),
    "config.task.name": (lambda name: name in task_names(), f"one of {', '.join(task_names())}"),
    "config.task.targets": (lambda kind: kind in LABEL_KINDS, f"one of {', '.join(LABEL_KINDS)}"),
    "config.task.monitor": (is_text, "the name of a metric"),
    "config.task.mode": (lambda mode: mode in ("max", "min"), "max or min"),
    "config.seed": (lambda v: isinstance(v, int), "a whole number"),
    "config.data": (lambda v: isinstance(v, dict) and isinstance(v.get("_target_"), str), "settings of data"),
    "config.loss": (lambda v: isinstance(v, dict) and isinstance(v.get("_target_"), str), "settings of a loss"),
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
    "calibration": (is_mapping, "numbers"),
    "calibration.temperature": (lambda value: is_number(value, 1e-6, 1e6), "a finite number above 0"),
    "calibration.ood_score_p50": NUMBER,
    "calibration.ood_score_p95": NUMBER,
    "calibration.ood_score_p99": NUMBER,
}
OPTIONAL = ("preprocessing.resize_mode", *(entry for entry in ENTRIES if entry.startswith("calibration")))


def moved(values: Any, old: str, new: str) -> Any:
    """Nested plain data with the folder `old` replaced by `new` in every path below it."""
    if isinstance(values, dict):
        return {moved(key, old, new): moved(value, old, new) for key, value in values.items()}
    if isinstance(values, list):
        return [moved(value, old, new) for value in values]
    if isinstance(values, str) and (values == old or values.startswith(f"{old}/")):
        return new + values.removeprefix(old)
    return values
