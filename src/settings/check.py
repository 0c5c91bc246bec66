"""Every mistake in the settings that can be seen without torch, told all at once.

Unknown keys, wrong kinds, values out of range, missing paths, settings that contradict each other. What needs torch
is in src/settings/signatures.py.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from src.settings.checkpoints import find_checkpoint, find_checkpoints, require_archive
from src.settings.contradictions import contradictions, data_contradictions
from src.settings.data_commands import UNREAD
from src.settings.errors import ConfigError, did_you_mean
from src.settings.rules import is_declared, wrong_value, wrong_values
from src.settings.schema import EvaluateConfig, TrainConfig

# Settings whose values are taken as they are typed: paths, and names out of the user's data.
PATHS = (
    "ckpt", "model", "resume", "images", "root", "output", "output_dir", "report", "data.root", "data.file",
    "data.split_file", "data.image_folder", "data.mask_folder", "data.classes", "data.cache_dir", "backbone.weights",
    "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip
NAMES = (
    "name", "class_name", "data.path_column", "data.label_columns", "data.split_column", "data.group_column",
    "data.mask_column", "data.mask_suffix", "data.name",
)  # fmt: skip
OF_RUNS = ("checkpoints", "last.ckpt", "train.log")  # one of them is in a run's directory, also in its first epoch


def check_settings(cfg: DictConfig, yaml_values: dict[str, Any]) -> None:
    """Raise ConfigError for everything wrong in `cfg` that can be seen without importing torch.

    `yaml_values` are settings as the yaml files have them, nested: a number there must stay a number.
    """
    schema = OmegaConf.get_type(cfg)
    problems = [f"{key} is not set: give {key}=<value>." for key in sorted(OmegaConf.missing_keys(cfg))]
    problems += unknown_keys(cfg)
    values = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    problems += wrong_values(schema, values)
    problems += other_kinds(schema, values, yaml_values)
    unread = UNREAD.get(schema, ()) if schema is not None else ()
    problems += [
        f"{group}.<setting> is of no use here: nothing is trained." for group in yaml_values if group in unread
    ]
    problems += nothing_chosen(values) if schema is not EvaluateConfig else []
    problems += wrong_paths(values)
    if not problems:
        problems = [*missing_checkpoints(schema, values), *missing_paths(values)]
    if not problems:  # what is wrong in itself cannot be compared
        settings = OmegaConf.to_object(cfg)
        problems = list(data_contradictions(values.get("data") or {}, value_at(values, "task.targets", None)))
        problems += contradictions(settings) if isinstance(settings, TrainConfig) else []
    if problems:
        raise ConfigError("\n".join(problems))


def unknown_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys that no schema has: `+` on the command line adds them past Hydra's own check."""
    schema = OmegaConf.get_type(node)
    if schema is None or not dataclasses.is_dataclass(schema):
        return
    known = [field.name for field in dataclasses.fields(schema)]
    for key in map(str, node):
        if key not in known:
            hint = did_you_mean(key, known, prefix)
            yield f"{prefix}{key} is no setting.{hint} Known: {', '.join(known)}."
        elif not OmegaConf.is_missing(node, key) and isinstance(inner := node[key], DictConfig):
            yield from unknown_keys(inner, f"{prefix}{key}.")


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested mappings that is no mapping; lists count as values."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def other_kinds(schema: Any, values: dict[str, Any], yaml_values: dict[str, Any]) -> Iterator[str]:
    """A setting of which no type says what it may be: what is a number, a text, a list or true/false must stay one.

    That is so for the groups' values, by their yaml files, and for what a phase overrides, by the groups.
    """
    for key, default in leaves(yaml_values):
        if not is_declared(schema, key):
            yield from wrong_value(kind_of_value(default), value_at(values, key, default), key)
    for number, phase in enumerate(values["freeze"]["phases"] if schema is TrainConfig else ()):
        for group in ("optimizer", "scheduler"):
            for key, value in leaves(phase[group] if "_target_" not in phase[group] else {}):
                default = value_at(values[group], key, None)
                if not is_declared(schema, f"{group}.{key}"):
                    yield from wrong_value(kind_of_value(default), value, f"freeze.phases.{number}.{group}.{key}")


def value_at(values: Any, key: str, default: Any) -> Any:
    """Of a dotted key in nested mappings."""
    for part in key.split("."):
        values = values.get(part, default) if isinstance(values, dict) else default
    return values


def kind_of_value(value: Any) -> Any:
    """The type that another value in its place must have; only true or false cannot be null."""
    kind = type(value)
    return kind if kind is bool else kind | None if kind in (int, float, str, list) else Any


def nothing_chosen(values: dict[str, Any]) -> Iterator[str]:
    """Groups of which something is built, and that say nothing of what."""
    for group in ("data", "head", "loss", "optimizer", "scheduler", "trainer"):
        node = values.get(group, {"_target_": ""})
        if group == "loss" and node == {}:
            continue  # the task says whether it needs one
        if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
            key = f"{group}._target_={node.get('_target_')!r}" if isinstance(node, dict) else f"{group}={node!r}"
            yield f"{key} names nothing that can be built: choose one of the group's options, {group}=<option>."


def wrong_paths(values: dict[str, Any]) -> Iterator[str]:
    for key in PATHS:
        if (value := value_at(values, key, None)) == "":
            yield f"{key} is empty: give a path, or leave it out. (Is it a shell's variable that is not set?)"
        elif isinstance(value, int | float):
            yield f'{key}={value} is a number, and must be a path: in a yaml file it needs quotes, "{value}".'


def missing_checkpoints(schema: Any, values: dict[str, Any]) -> Iterator[str]:
    """Of `ckpt`, which for some commands is a single one: there it is of type str."""
    alone = any(field.name == "ckpt" and field.type is str for field in dataclasses.fields(schema))
    if (ckpt := values.get("ckpt")) is None:
        return
    if isinstance(ckpt, str) and not Path(ckpt).expanduser().exists():
        yield not_there("ckpt", ckpt)
        return
    if "model" in values and str(ckpt).endswith((".onnx", ".pt2")):
        return  # src.serve says that it is to be given as model=
    try:
        for file in [find_checkpoint(ckpt, "best")] if alone else find_checkpoints(ckpt):
            require_archive(file)
    except ConfigError as error:
        yield str(error)


def not_there(key: str, value: str) -> str:
    looked_in = "" if Path(value).is_absolute() else f" (looked in {Path.cwd()})"
    return f"{key}='{value}' does not exist{looked_in}."


def missing_paths(values: dict[str, Any]) -> Iterator[str]:
    """Also of what is there, and a file where a folder is needed, or the other way round, or empty."""
    data = values.get("data") or {}
    keys = ["data.file", "data.split_file", "resume", "model", "root"]
    if "name" not in data:  # torchvision's sets are downloaded to data.root
        keys.append("data.root")
    own = str(data.get("_target_")).startswith("src.")  # what a module of somebody else's calls a root, who knows
    for key in keys:
        value = value_at(values, key, None)
        if value is None or (key == "resume" and value == "auto"):
            continue
        path = Path(value).expanduser()
        if not path.exists():
            yield not_there(key, value)
        elif key == "resume":
            yield from no_run(value)
        elif key in (["root", "data.root"] if own else ["root"]) and not path.is_dir():
            yield f"{key}='{value}' is not a folder."
        elif own and key == "data.file" and path.is_dir():
            yield f"{key}='{value}' is a folder."
        elif own and key == "data.file" and path.is_file() and not path.stat().st_size:
            yield f"{key}='{value}' is empty: it has not one byte. Was it copied whole?"


def no_run(resume: str) -> Iterator[str]:
    """What keeps a run from going on with what is there."""
    path = Path(resume).expanduser()
    if not path.is_file() and not any((path / name).exists() for name in OF_RUNS):
        yield f"resume='{resume}' is no run: expected its directory, with checkpoints/last.ckpt, or a .ckpt."
    elif path.is_file():
        try:
            require_archive(path)
        except ConfigError as error:
            yield str(error)
