"""Every mistake in the settings that can be seen without torch, told all at once.

Unknown keys, wrong kinds, values out of range, missing paths, settings that contradict each other. What needs torch
is in src/settings/signatures.py.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.settings.contradictions import contradictions
from src.settings.errors import ConfigError, did_you_mean
from src.settings.free_text import PATHS
from src.settings.ranges import out_of_range
from src.settings.schema import EvaluateConfig


def check_settings(cfg: DictConfig, yaml_values: dict[str, Any]) -> None:
    """Raise ConfigError for everything wrong in `cfg` that can be seen without importing torch.

    `yaml_values` are settings as the yaml files have them, nested: a number there must stay a number.
    """
    problems = [f"{key} is not set: give {key}=<value>." for key in sorted(OmegaConf.missing_keys(cfg))]
    problems += unknown_keys(cfg) + wrong_kinds(cfg, yaml_values) + nothing_chosen(cfg) + empty_paths(cfg)
    if not problems:  # values of the wrong kind cannot be compared
        problems = out_of_range(cfg) + missing_paths(cfg)
    if not problems:  # nor can those out of range
        problems = contradictions(cfg)
    if problems:
        raise ConfigError("\n".join(problems))


def unknown_keys(cfg: DictConfig, prefix: str = "") -> list[str]:
    """Keys that no schema has: `+` on the command line adds them past Hydra's own check."""
    schema = OmegaConf.get_type(cfg)
    problems: list[str] = []
    if schema is None or not dataclasses.is_dataclass(schema):
        return problems
    known = [field.name for field in dataclasses.fields(schema)]
    for key in map(str, cfg):
        if key not in known:
            hint = did_you_mean(key, known, prefix)
            problems.append(f"{prefix}{key} is no setting.{hint} Known: {', '.join(known)}.")
        elif not OmegaConf.is_missing(cfg, key) and isinstance(node := cfg[key], DictConfig):
            problems += unknown_keys(node, f"{prefix}{key}.")
    return problems


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested mappings that is no mapping; lists count as values."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


SEVERAL_KINDS = ("trainer.devices", "trainer.strategy")  # a word, or a list of numbers; a word, or what is to be built


def wrong_kinds(cfg: DictConfig, yaml_values: dict[str, Any]) -> list[str]:
    """A setting whose yaml value is a number, a text, a list or true/false must stay one."""
    problems = []
    for key, default in leaves(yaml_values):
        value = OmegaConf.select(cfg, key, default=default)
        if isinstance(default, bool):
            wanted, right = "true or false", isinstance(value, bool)
        elif isinstance(default, int | float):
            whole = isinstance(default, int)
            wanted = "a whole number" if whole else "a number"
            right = value is None or (isinstance(value, int if whole else int | float) and not isinstance(value, bool))
        elif isinstance(default, list):
            wanted, right = "a list such as [1, 2]", value is None or OmegaConf.is_list(value) or value is default
        elif isinstance(default, str) and key not in SEVERAL_KINDS:
            wanted, right = "a text", not OmegaConf.is_config(value)
        else:
            continue
        if not right:
            problems.append(f"{key}={value!r} is not {wanted}.")
    return problems


def nothing_chosen(cfg: DictConfig) -> list[str]:
    """Groups of which something is built, and that say nothing of what."""
    problems = []
    for group in ("data", "head", "loss", "optimizer", "scheduler", "trainer"):
        if group not in cfg or OmegaConf.get_type(cfg) is EvaluateConfig:
            continue
        node = cfg[group]
        if not isinstance(node, DictConfig) or not isinstance(node.get("_target_"), str):
            given = (
                f"{group}._target_={node.get('_target_')!r}" if isinstance(node, DictConfig) else f"{group}={node!r}"
            )
            problems.append(
                f"{given} names nothing that can be built: choose one of the group's options, {group}=<option>."
            )
    return problems


def empty_paths(cfg: DictConfig) -> list[str]:
    return [
        f"{key} is empty: give a path, or leave it out. (Is it a shell's variable that is not set?)"
        for key in PATHS
        if not key.startswith("hydra.") and OmegaConf.select(cfg, key, throw_on_missing=False) == ""
    ]


def missing_paths(cfg: DictConfig) -> list[str]:
    problems = []
    keys = ["data.file", "data.split_file", "resume", "ckpt", "model", "root"]
    if "name" not in (OmegaConf.select(cfg, "data") or {}):  # torchvision's sets are downloaded to data.root
        keys.append("data.root")
    for key in keys:
        value = OmegaConf.select(cfg, key)
        if key == "resume" and value == "auto":
            continue
        if value is not None and not Path(value).expanduser().exists():
            problems.append(f"{key}='{value}' does not exist{looked_in(value)}.")
        elif key == "resume" and value is not None and not is_run(Path(value).expanduser()):
            problems.append(
                f"resume='{value}' is no run: expected its directory, with checkpoints/last.ckpt, or a .ckpt."
            )
    return problems


def is_run(path: Path) -> bool:
    """Whether it is a run's directory, whose first epoch may not have ended, or may be a checkpoint."""
    return path.is_file() or any((path / name).exists() for name in ("checkpoints", "last.ckpt", "train.log"))


def looked_in(path: str) -> str:
    return "" if Path(path).is_absolute() else f" (looked in {Path.cwd()})"
