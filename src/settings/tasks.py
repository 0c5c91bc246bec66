"""The tasks that there are: the folders of src/tasks. Imports no torch."""

from src.settings.project import PROJECT_ROOT


def task_names() -> list[str]:
    """What `task.name` may be, in order."""
    return sorted(file.parent.name for file in (PROJECT_ROOT / "src" / "tasks").glob("*/task.py"))
