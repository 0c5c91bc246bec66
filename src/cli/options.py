"""The groups of the settings and their options: what yaml files and command line say, and words for what is missing."""

import re
import sys
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.command_line import SEARCH
from src.cli.quoting import is_group
from src.settings.errors import did_you_mean
from src.settings.project import CONF_DIR

GROUP_OVERRIDE = re.compile(r"^\+?([a-z_/]+)=([\w./-]+|\[[\w., -]+\])$")


def option_names(group: str) -> list[str]:
    """Of a group: yaml files, and for backbone every network."""
    files = [file.stem for file in (CONF_DIR / group).glob("*.yaml")]
    stored = ConfigStore.instance().repo.get(group, {})
    return sorted({*files, *(name.removesuffix(".yaml") for name in stored)})


def read_option(group: str, option: str) -> dict[str, Any]:
    """`conf/<group>/<option>.yaml` with the files that it builds on; empty for options without a file.

    `[a,b]` stands for both.
    """
    if option.startswith("["):
        named = re.findall(r"[\w.-]+", option)
        return {key: value for name in named for key, value in read_option(group, name).items()}
    file = CONF_DIR / group / f"{option}.yaml"
    if not file.exists():
        return {}
    values = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file)))
    parents = [name for name in values.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    return {**{key: value for parent in parents for key, value in read_option(group, parent).items()}, **values}


def yaml_values() -> dict[str, Any]:
    """What the yaml files say for the groups in which this command line changes values, to compare the kinds."""
    groups = {text.lstrip("+").split(".")[0] for text in HydraConfig.get().overrides.task if "." in text.split("=")[0]}
    # Of several options of a group Hydra says nothing.
    found = (GROUP_OVERRIDE.match(text) for text in HydraConfig.get().overrides.task)
    several = {match[1]: match[2] for match in found if match and match[2].startswith("[")}
    choices = {**HydraConfig.get().runtime.choices, **several}
    return {group: read_option(group, str(choices[group])) for group in groups if group in choices}


def defaults_of(config_name: str) -> DictConfig:
    """The settings with the groups chosen on the command line, but with no single value changed."""
    groups = groups_of(config_name)
    chosen = [text for text in sys.argv[1:] if (match := GROUP_OVERRIDE.match(text)) and match[1] in groups]
    return composed(config_name, chosen)


def composed(config_name: str, overrides: list[str]) -> DictConfig:
    """The settings of conf/<config_name>.yaml with these, beside those that Hydra has composed for this process."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return hydra.compose(config_name, overrides=overrides)
    finally:
        GlobalHydra.instance().clear()
        if before is not None:
            GlobalHydra.instance().initialize(before)


def chosen_option(group: str, config_name: str) -> str:
    """What the command line, or else the defaults list, takes from a group."""
    options = groups_of(config_name)
    options |= {match[1]: match[2] for text in sys.argv[1:] if (match := GROUP_OVERRIDE.match(text))}
    return options.get(group, "")


def typed_settings() -> dict[str, str]:
    """By dotted key, the values that the command line gives, as they were typed."""
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    return {key: value for key, _, value in (text.lstrip("+").partition("=") for text in overrides)}


def has_recipe(recipe: str | None) -> bool:
    """Whether one was typed, or found by recipe=auto."""
    return recipe is not None or chosen_experiment() is not None


def chosen_experiment() -> str | None:
    return HydraConfig.get().runtime.choices.get("experiment") if HydraConfig.initialized() else None


def groups_of(config_name: str) -> dict[str, str]:
    """Those in the defaults list of `conf/<config_name>.yaml`, with the option that it takes."""
    file = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(CONF_DIR / f"{config_name}.yaml")))
    listed = [item for item in file["defaults"] if isinstance(item, dict)]
    return {name: str(option) for item in listed for name, option in item.items()}


def missing_option_message(path: str, text: str) -> str:
    """For `group/option`, which does not exist."""
    parts = path.split("/")
    heads = ["/".join(parts[:n]) for n in range(len(parts) - 1, 0, -1) if parts[n - 1]]
    listed = re.search(r"Available options in '(\S+)':\n((?:\t\S+\n?)*)", text)
    name = listed[1] if listed else next((head for head in heads if is_group(head)), path.rpartition("/")[0])
    option, options = path.removeprefix(f"{name}/"), listed[2].split() if listed else option_names(name)
    return f"{name}='{option}' does not exist.{did_you_mean(option, options)} Options: {', '.join(options)}."


def group_message(group: str) -> str:
    """For a group that got something other than one of its options."""
    return f"{group} takes one of its options, {group}=<option>. Options: {', '.join(option_names(group))}."


def search_message(name: str) -> str:
    """For a `search.<name>` that is none, or that was typed without a search."""
    if not any(text.startswith("sweep=") for text in sys.argv[1:]):
        return f"search.{name} is a setting of sweep=search: add -m sweep=search."
    settings = [key for key in read_option("hydra/sweeper", "search") if not key.startswith("_")]
    near = did_you_mean(name, settings, "search.")
    return f"search.{name} is no setting.{near} The settings of search: {', '.join(settings)}."


def unknown_key_message(key: str, config_name: str) -> str:
    *parents, last = key.split(".")
    if key.startswith(SEARCH):
        return search_message(last)
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
    if isinstance(settings, DictConfig) and not choices:  # of a phase, which sets nothing of its own yet
        return f"{prefix}{last} is not there yet: +{prefix}{last}=<value> adds it."
    near = did_you_mean(last, choices, prefix)
    where = f"settings of {'.'.join(seen)}" if seen else "settings and groups"
    target = settings.get("_target_") if isinstance(settings, DictConfig) else None
    more = f" +{prefix}{last}=<value> passes another argument to {target}." if target else ""
    if len(parents) == 1 and is_group(parents[0]):  # data.root, where data=digits was not changed to data=folder
        having = [option for option in option_names(parents[0]) if last in read_option(parents[0], option)]
        more = f" It is a setting of {parents[0]}={f', {parents[0]}='.join(having)}." if having else more
    return f"{prefix}{last} is no setting.{near} The {where}: {', '.join(choices)}.{more}"
