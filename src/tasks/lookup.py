"""From `task.name` to the parts of a task: the folder's name is the only registry."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from src.settings.errors import ConfigError
from src.settings.options import task_names

if TYPE_CHECKING:
    from src.evaluation.prediction import Prediction
    from src.training.task import FineTuneTask


def part_of(task: str, part: str) -> ModuleType:
    """The module `part` (task, metrics, prediction, report or export) of a task.

    Raises ConfigError if there is no such task: the name may come from a file that is anybody's.
    """
    if task not in task_names():
        raise ConfigError(f"task.name={task!r} is no task. Allowed: {', '.join(task_names())}.")
    return import_module(f"src.tasks.{task}.{part}")


def class_of(task: str, part: str) -> Any:
    """The class after which a part is named: of instance_segmentation and task, InstanceSegmentationTask."""
    return getattr(part_of(task, part), "".join(word.title() for word in (*task.split("_"), part)))


def task_class(task: str) -> "type[FineTuneTask]":
    return cast("type[FineTuneTask]", class_of(task, "task"))


def prediction_class(task: str) -> "type[Prediction]":
    """Imports no torch."""
    return cast("type[Prediction]", class_of(task, "prediction"))
