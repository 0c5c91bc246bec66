"""`experiment=<file>.yaml`: a file that lies anywhere, made an option of the group beside those in conf/experiment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from src.cli.launch import safe_name
from src.files.plain_files import read_yaml
from src.settings.project import CONF_DIR

TAKEN: dict[str, Path] = {}  # by the option's name


def with_own_experiments(arguments: Sequence[str]) -> list[str]:
    """The command line with options in the place of files. Raises ConfigError for a file that cannot be read."""
    return [option_of(text) if text.startswith("experiment=") else text for text in arguments]


def option_of(text: str) -> str:
    key, _, value = text.partition("=")
    parts = [part.strip("'\"") for part in value.split(",")]
    return f"{key}={','.join(taken(part) if part.endswith(('.yaml', '.yml')) else part for part in parts)}"


def taken(path: str) -> str:
    """The name of the option that stands for the file."""
    file = Path(path).expanduser()
    name = safe_name(str(file.with_suffix("")))
    ConfigStore.instance().store(group="experiment", name=name, node=read_yaml(file), package="_global_")
    TAKEN[name] = file
    return name


def read_experiment(option: str) -> dict[str, Any]:
    """The file of an option of the group, with its list of defaults. Raises ConfigError."""
    return read_yaml(TAKEN.get(option, CONF_DIR / "experiment" / f"{option}.yaml"))
