"""What a file says of its model; what an exported file states is checked one by one: it may be anybody's."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.exporting.output import FORMAT_VERSION
from src.files.printable import printable
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.options import task_names
from src.settings.plain_values import LONGEST_NAME, NAMES, PREPROCESSING, Rules, is_number

LONGEST_TEXT = 64 * 2**20  # characters of JSON


@dataclass(frozen=True)
class ModelFacts:
    """What a checkpoint or an exported file says of its model; GET /model gives it as it is.

    `thresholds` are those of probabilities, where the task has such; `ood_score_p99` is the score that 1 % of the
    validation images exceeded.
    """

    file: str
    task: str
    class_names: list[str]
    preprocessing: Preprocessing
    backbone: str
    temperature: float = 1.0
    thresholds: list[float] | None = None
    ood_score_p99: float | None = None


def facts_of(file: Path, values: dict[str, Any]) -> ModelFacts:
    """Raises ConfigError, which names the entry, if the file is not one of src.export's or an entry cannot be."""
    version = values.get("format_version")
    if is_number(version, 0, 1000) and version != FORMAT_VERSION:
        raise ConfigError(
            f"model='{file}' has the format version {version}, and this program knows {FORMAT_VERSION}: export it with "
            "the version of the project that serves it."
        )
    if missing := [key for key in NEEDED if values.get(key) is None]:
        raise ConfigError(
            f"model='{file}' was not written by python -m src.export: it does not say what its classes are (there is "
            f"no {', '.join(missing)} in its metadata)."
        )
    for key, (is_right, wanted) in RULES.items():
        if not is_right(values.get(key)):
            raise wrong(file, key, values.get(key), wanted)
    names = [printable(name) for name in values["class_names"]]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise wrong(file, "class_names", twice, "there once")
    thresholds = values.get("thresholds")
    if thresholds is not None and len(thresholds) != len(names):
        raise wrong(file, "thresholds", thresholds, f"one number for each of the {len(names)} classes")
    return ModelFacts(
        file=file.name,
        task=values["task"],
        class_names=names,
        preprocessing=Preprocessing.from_dict(preprocessing_of(file, values["preprocessing"])),
        backbone=printable(values.get("backbone") or ""),
        temperature=float(values.get("temperature") or 1.0),
        thresholds=thresholds,
        ood_score_p99=values.get("ood_score_p99"),
    )


def preprocessing_of(file: Path, values: dict[str, Any]) -> dict[str, Any]:
    values = {"resize_mode": "crop", "keeps_shape": False, **values}
    for key, (is_right, wanted) in PREPROCESSING.items():
        if key not in values or not is_right(values[key]):
            raise wrong(file, f"preprocessing.{key}", values.get(key), wanted)
    if values["crop_px"] > values["resize_px"] and not values["keeps_shape"]:
        raise wrong(file, "preprocessing.crop_px", values["crop_px"], f"no more than resize_px={values['resize_px']}")
    return {key: values[key] for key in PREPROCESSING}


def parsed(text: str) -> Any:
    """What the JSON says; None if it is none."""
    try:
        return json.loads(text) if len(text) <= LONGEST_TEXT else None
    except (ValueError, RecursionError):
        return None


def wrong(file: Path, key: str, value: Any, wanted: str) -> ConfigError:
    text = repr(value)
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return ConfigError(
        f"model='{file}': {key} in its metadata is {printable(text)}, and must be {wanted}. Export it again with "
        "python -m src.export."
    )


NEEDED = ("format_version", "task", "class_names", "preprocessing")
RULES: Rules = {
    "format_version": (lambda v: isinstance(v, int) and not isinstance(v, bool), "a whole number"),
    "task": (lambda v: v in task_names(), f"one of {', '.join(task_names())}"),
    "class_names": NAMES,
    "preprocessing": (lambda v: isinstance(v, dict), "a mapping"),
    "temperature": (lambda v: v is None or is_number(v, 1e-6, 1e6), "a number above 0, or null"),
    "thresholds": (
        lambda v: v is None or (isinstance(v, list) and all(is_number(one, 0, 1) for one in v)),
        "a list of numbers from 0 to 1, or null",
    ),
    "ood_score_p99": (lambda v: v is None or is_number(v), "a finite number, or null"),
    "backbone": (lambda v: v is None or (isinstance(v, str) and len(v) <= LONGEST_NAME), "a text"),
}
