"""From `task.name` to the parts of a task: the folder's name is the only registry."""

from importlib import import_module
from types import ModuleType

from src.settings.errors import ConfigError
from src.settings.tasks import task_names
from src.training.scores_task import ScoresTask


def part_of(task: str, part: str) -> ModuleType:
    """The module `part` (task, metrics, prediction, report or export) of a task.

    Raises ConfigError if there is no such task: the name may come from a file that is anybody's.
    """
    if task not in task_names():
        raise ConfigError(f"task.name={task!r} is no task. Allowed: {', '.join(task_names())}.")
    return import_module(f"src.tasks.{task}.{part}")


def task_class(task: str) -> type[ScoresTask]:
    """Of instance_segmentation: InstanceSegmentationTask."""
    found: type[ScoresTask] = getattr(part_of(task, "task"), "".join(word.title() for word in task.split("_")) + "Task")
    assert issubclass(found, ScoresTask)
    return found
