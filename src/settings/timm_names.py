"""timm's networks, `timm/<name>` or `timm/<name>.<tag>` as timm's pages write them, without importing timm (and torch).

A tag is a set of pretrained weights: resnet50.a1_in1k. Without one it is the network's usual set.
"""

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from src.settings.errors import did_you_mean

PREFIX = "timm/"
WITHOUT = (
    "backbone.name='{}' is one of timm's networks, and timm is not installed: uv sync --extra timm, or pip install "
    "timm."
)


def is_timm(name: Any) -> bool:
    """Whether it is written as one of timm's networks: never an address of a hub or a path, which timm takes too."""
    return isinstance(name, str) and re.fullmatch(r"timm/\w+(\.\w+)?", name, re.ASCII) is not None


def architecture_of(name: str) -> str:
    return name.removeprefix(PREFIX).partition(".")[0]


def tag_of(name: str) -> str:
    return name.removeprefix(PREFIX).partition(".")[2]


def name_problems(name: str) -> Iterator[str]:
    """What is wrong with a name, and timm missing. Tags are looked up later, when timm is imported."""
    if not name.startswith(PREFIX):
        return
    architectures = installed_architectures()
    if architectures is None:
        yield WITHOUT.format(name)
    elif not is_timm(name):
        yield f"backbone.name='{name}' is no name of timm's: give timm/<network> or timm/<network>.<weights>."
    elif architectures and architecture_of(name) not in architectures:
        near = did_you_mean(architecture_of(name), architectures, PREFIX)
        yield (
            f"backbone.name='{name}' is no network of the installed timm.{near} All of them: "
            'python -c "import timm; print(*timm.list_models())"'
        )


@cache
def installed_architectures() -> set[str] | None:
    """What the installed timm calls its networks, read from its source; None without timm.

    It is empty should timm write them in another way one day: then the name is looked up when timm is imported.
    """
    found = importlib.util.find_spec("timm")
    if found is None or found.origin is None:
        return None
    files = (Path(found.origin).parent / "models").glob("*.py")
    registered = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
    return {name for file in files for name in registered.findall(file.read_text(encoding="utf-8"))}
