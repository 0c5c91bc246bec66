"""What this project itself offers: the options of a group, as its yaml files have them, and the tasks. No torch."""

from functools import cache
from typing import Any, cast

from omegaconf import OmegaConf

from src.settings.project import CONF_DIR, PROJECT_ROOT


@cache
def options_of(group: str) -> dict[str, dict[str, Any]]:
    """Values by the option's name, without those of the files that an option builds on; to be read only."""
    files = sorted((CONF_DIR / group).glob("*.yaml"))
    return {file.stem: cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file))) for file in files}


def targets_of(group: str) -> set[str]:
    """The dotted names that the options of a group give as `_target_`."""
    return {option["_target_"] for option in options_of(group).values() if "_target_" in option}


def chosen_as(group: str, node: dict[str, Any]) -> str:
    """`group=option`, as it is typed, of what the settings say for a group; the dotted name if that is no option's."""
    target = node["_target_"]
    named = [name for name, option in options_of(group).items() if option.get("_target_") == target]
    return f"{group}={named[0]}" if named else f"{group}._target_={target}"


def task_names() -> list[str]:
    """What `task.name` may be, in order: the folders of src/tasks."""
    return sorted(file.parent.name for file in (PROJECT_ROOT / "src" / "tasks").glob("*/task.py"))


@cache
def tasks_for(*kinds: str) -> str:
    """The options whose task.targets is one of these, as they are typed: `task=one or task=other`."""
    options = options_of("task").items()
    return " or ".join(f"task={name}" for name, values in options if values.get("task", values).get("targets") in kinds)
