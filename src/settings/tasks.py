"""The tasks that there are: the folders of src/tasks, and their options in conf/task. Imports no torch."""

from functools import cache

from omegaconf import OmegaConf

from src.settings.project import CONF_DIR, PROJECT_ROOT


def task_names() -> list[str]:
    """What `task.name` may be, in order."""
    return sorted(file.parent.name for file in (PROJECT_ROOT / "src" / "tasks").glob("*/task.py"))


@cache
def tasks_for(*kinds: str) -> str:
    """The options whose task.targets is one of these, as they are typed: `task=one or task=other`."""
    found = []
    for file in sorted((CONF_DIR / "task").glob("*.yaml")):
        settings = OmegaConf.load(file)
        if (OmegaConf.select(settings, "task.targets") or OmegaConf.select(settings, "targets")) in kinds:
            found.append(f"task={file.stem}")
    return " or ".join(found)
