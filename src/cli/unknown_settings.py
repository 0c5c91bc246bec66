"""What to say of an option or a key that does not exist: the nearest right one, and what there is."""

import re
import sys
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.options import chosen_option, defaults_of, options_of, read_option
from src.cli.quoting import is_group
from src.settings.errors import did_you_mean


def missing_option_message(path: str, text: str) -> str:
    """For `group/option`, which does not exist."""
    parts = path.split("/")
    heads = ["/".join(parts[:n]) for n in range(len(parts) - 1, 0, -1) if parts[n - 1]]
    listed = re.search(r"Available options in '(\S+)':\n((?:\t\S+\n?)*)", text)
    name = listed[1] if listed else next((head for head in heads if is_group(head)), path.rpartition("/")[0])
    option, options = path.removeprefix(f"{name}/"), listed[2].split() if listed else options_of(name)
    return f"{name}='{option}' does not exist.{did_you_mean(option, options)} Options: {', '.join(options)}."


def group_message(group: str) -> str:
    """For a group that got something other than one of its options."""
    return f"{group} takes one of its options, {group}=<option>. Options: {', '.join(options_of(group))}."


def unknown_key_message(key: str, config_name: str) -> str:
    *parents, last = key.split(".")
    settings: Any = {}
    choosing = ("task=", "experiment=", "debug=", "sweep=")  # they choose options of other groups too
    other_groups = any(text.lstrip("+").startswith(choosing) for text in sys.argv[1:])
    if len(parents) == 1 and is_group(parents[0]) and not other_groups:  # needs no second composing
        settings = OmegaConf.create({parents[0]: read_option(parents[0], chosen_option(parents[0], config_name))})
    if not settings.get("".join(parents)):
        try:
            settings = defaults_of(config_name)
        except Exception:
            return f"{key} is no setting of this command."
    seen = []
    for parent in parents:
        key_or_index = int(parent) if isinstance(settings, ListConfig) and parent.isdigit() else parent
        try:
            settings = settings[key_or_index]
        except (KeyError, IndexError, TypeError, OmegaConfBaseException):
            last = parent
            break
        seen.append(parent)
    prefix = "".join(f"{parent}." for parent in seen)
    choices = [str(name) for name in settings] if isinstance(settings, DictConfig) else []
    if f"~{key}" in sys.argv[1:] and not did_you_mean(last, set(choices) - {last}, prefix):
        there = ", ".join(choices) or "none"
        return f"~{key} takes away what is not there. The settings of {prefix.rstrip('.') or config_name}: {there}."
    near = did_you_mean(last, choices, prefix)
    where = f"settings of {'.'.join(seen)}" if seen else "settings and groups"
    target = settings.get("_target_") if isinstance(settings, DictConfig) else None
    more = f" +{prefix}{last}=<value> passes another argument to {target}." if target else ""
    if len(parents) == 1 and is_group(parents[0]):  # data.root, where data=digits was not changed to data=folder
        having = [option for option in options_of(parents[0]) if last in read_option(parents[0], option)]
        more = f" It is a setting of {parents[0]}={f', {parents[0]}='.join(having)}." if having else more
    return f"{prefix}{last} is no setting.{near} The {where}: {', '.join(choices)}.{more}"
