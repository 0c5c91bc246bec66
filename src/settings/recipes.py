"""recipe=auto: what it needs of the other settings, and what it leaves in them. Imports no torch."""

import re
from collections.abc import Iterator

from src.settings.errors import ConfigError
from src.settings.processes import several_processes
from src.settings.schema import TrainConfig

AUTO = "auto"
ONE_PROCESS = "recipe=auto looks with one process: set trainer.devices=1, and give a run on several what it takes."
TAKEN = re.compile(r"experiment=[a-z_]+( trainer\.max_epochs=\d+)?")  # in the place of auto, once it is chosen


def taken_settings(recipe: object) -> list[str]:
    """Of a run that goes on. Raises ConfigError if it had no recipe=auto."""
    if isinstance(recipe, str) and TAKEN.fullmatch(recipe):
        return recipe.split()
    raise ConfigError("recipe=auto: the run that is to go on was started without it: leave it out.")


def recipe_problems(settings: TrainConfig) -> Iterator[str]:
    recipe = settings.recipe
    if recipe is None or TAKEN.fullmatch(recipe):
        return
    if recipe != AUTO:
        yield f"recipe='{recipe}' is not understood. Allowed: auto. One of your choice is experiment=<name>."
        return
    if settings.task.targets != "classes":
        yield (
            f"recipe=auto is for one class per image, and this task has task.targets={settings.task.targets}: leave it "
            "out, and the task brings what was measured for it."
        )
    if settings.backbone.weights is None:
        yield "recipe=auto asks what pretrained weights know, and backbone.weights=null has none: leave it out."
    if several_processes(settings.trainer):
        yield ONE_PROCESS
    if settings.head.get("start") != "small":
        yield "recipe=auto chooses how the head starts: leave them out, or name a recipe: experiment=<name>."
