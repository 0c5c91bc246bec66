"""What the settings in a checkpoint may name: checkpoints come from strangers, and must not choose what code runs.

Without `trust=true` only our own modules and torch's and Lightning's own classes are called, each where its kind
belongs. A name is compared before anything is imported, and what it stands for before it is called.
"""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from src.settings.check import leaves
from src.settings.errors import ConfigError
from src.settings.kinds import Kind, is_of_kind, kind_of
from src.settings.signatures import target_nodes

# How names may begin at all: importing anything else could run what lies in the working directory.
PREFIXES = ("src.", "torch.nn.", "torch.optim.", "lightning.Trainer", "lightning.pytorch.")
WRITTEN = ("callbacks.", "logger.", "trainer.profiler")  # settings by which files are written
WAY_OUT = (
    "It may be somebody else's code. If you know who wrote the file and trust them, trust=true runs it "
    "(docs/security.md)."
)


def plain_config(values: dict[str, Any]) -> DictConfig:
    """Settings out of a file, in which nothing is computed: `${...}` stays as it is."""

    def escaped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: escaped(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [escaped(inner) for inner in value]
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value

    config = OmegaConf.create(escaped(values))
    assert isinstance(config, DictConfig)
    return config


def require_own_targets(settings: dict[str, Any], file: Path, places: tuple[str, ...] = ()) -> None:
    """Raise ConfigError for every `_target_` in the settings of `file` that is not of the kind that belongs there.

    `places`: first keys to look at, for example ("loss", "data"); all if empty.
    """
    problems = []
    for path, node in target_nodes(settings):
        if places and path.split(".")[0] not in places:
            continue
        kind = kind_of(path)
        if "_args_" in node:
            problems.append(f"{path}._args_, and arguments without names cannot be judged")
        if kind is None:
            problems.append(f"{path}._target_={node['_target_']!r}, where no code may be named")
        elif not is_own(node["_target_"], kind):
            problems.append(
                f"{path}._target_={node['_target_']!r}, which is no {kind.what} of this project, torch or Lightning"
            )
    if problems:
        raise ConfigError(f"'{file}' asks for {'; for '.join(problems)}. {WAY_OUT}")


def is_own(name: Any, kind: Kind) -> bool:
    """Whether a dotted name stands for something of this kind. Nothing is called, and nothing foreign imported."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", name):
        return False
    try:
        return name.startswith(PREFIXES) and is_of_kind(get_object(name), kind)
    except Exception:  # there is no such name
        return False


def require_own_paths(
    settings: dict[str, Any], own: dict[str, Any], file: Path, run_dir: Path, changed: Collection[str] = ()
) -> None:
    """Raise ConfigError if callbacks or loggers of a file's settings would write outside the run's directory, or send
    what they log to where the file says.

    `settings`, of `file`, have the paths of the run as it lies now. What `own`, the settings of this command line, say
    too is the user's own word, and so are the keys `changed`, which it gives anew. `run_dir` is absolute.
    """
    said = dict(leaves(own))
    for key, value in texts(settings):
        if key in changed or not key.startswith(WRITTEN) or said.get(key) == value:
            continue
        if leaves_folder(key, value, run_dir):
            raise ConfigError(
                f"'{file}' asks for {key}={value!r}, by which something outside the run's directory {run_dir} might be "
                f"written, or sent to somebody. If that is right, trust=true allows it, or give {key}=<value> yourself."
            )


def texts(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(dotted key, text) of all texts in nested settings, those in lists included."""
    for key, value in leaves(settings):
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, str) and not key.endswith("._target_"):
                yield key, inner


PATH_KEYS = re.compile(r"(^|_)(dir|dirpath|directory|output|path|file|folder|root)$|dirpath|save_dir")
# Servers, stores and accounts to which a logger would send the images; what lies deeper may be any of these.
ADDRESS_KEYS = re.compile(r"logger\.\w+\.(.*(uri|url|location|host|entity|workspace|teamspace)|(?!tags\.).*\..*)")
# What ModelCheckpoint may put into a file's name: numbers as numbers, and no fill characters, which could be slashes.
PLACEHOLDER = re.compile(r"\{[\w/]+(:0?\d*(\.\d+)?[dfeg]?)?\}")


def leaves_folder(key: str, value: str, run_dir: Path) -> bool:
    if ADDRESS_KEYS.fullmatch(key):
        return True
    rest = value.removeprefix(str(run_dir))
    if "://" in value or "$" in rest or "~" in rest or re.search(r"[{}]", PLACEHOLDER.sub("", rest)):
        return True  # another machine; variables that loggers expand; formats that make slashes
    names_path = bool(PATH_KEYS.search(key.rpartition(".")[2]))
    if not names_path and not value.startswith(("/", "~", "\\")) and ".." not in re.split(r"[/\\]", value):
        return False
    return not Path(os.path.abspath(Path(value).expanduser())).is_relative_to(run_dir)  # noqa: PTH100 - no links
