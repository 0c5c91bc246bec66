"""The groups of the settings and their options: what the yaml files say, and what the command line says of them."""

import re
import sys
from typing import Any, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.cli.quoting import is_group
from src.settings.project import CONF_DIR

GROUP_OVERRIDE = re.compile(r"^\+?([a-z_/]+)=([\w.-]+)$")


def options_of(group: str) -> list[str]:
    """Names of a group's options: yaml files, and for backbone every network."""
    from hydra.core.config_store import ConfigStore

    files = [file.stem for file in (CONF_DIR / group).glob("*.yaml")]
    stored = ConfigStore.instance().repo.get(group, {})
    return sorted({*files, *(name.removesuffix(".yaml") for name in stored)})


def read_option(group: str, option: str) -> dict[str, Any]:
    """`conf/<group>/<option>.yaml` with the files that it builds on; empty for options without a file."""
    file = CONF_DIR / group / f"{option}.yaml"
    if not file.exists():
        return {}
    values = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file)))
    parents = [name for name in values.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    return {**{key: value for parent in parents for key, value in read_option(group, parent).items()}, **values}


def yaml_values() -> dict[str, Any]:
    """What the yaml files say for the groups in which this command line changes values, to compare the kinds."""
    groups = {text.lstrip("+").split(".")[0] for text in HydraConfig.get().overrides.task if "." in text.split("=")[0]}
    choices = HydraConfig.get().runtime.choices
    return {group: read_option(group, str(choices[group])) for group in groups if group in choices}


def defaults_of(config_name: str) -> DictConfig:
    """The settings with the groups chosen on the command line, but with no single value changed."""
    chosen = [text for text in sys.argv[1:] if (match := GROUP_OVERRIDE.match(text)) and is_group(match[1])]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return hydra.compose(config_name, overrides=chosen)


def chosen_option(group: str, config_name: str) -> str:
    """What the command line, or else the defaults list, takes from a group."""
    file = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(CONF_DIR / f"{config_name}.yaml")))
    listed = [item for item in file["defaults"] if isinstance(item, dict)]
    options = {name: str(option) for item in listed for name, option in item.items()}
    options |= {match[1]: match[2] for text in sys.argv[1:] if (match := GROUP_OVERRIDE.match(text))}
    return options.get(group, "")


def typed_settings() -> dict[str, str]:
    """By dotted key, the values that the command line gives, as they were typed."""
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    return {key: value for key, _, value in (text.lstrip("+").partition("=") for text in overrides)}


def chosen_experiment() -> str | None:
    return HydraConfig.get().runtime.choices.get("experiment") if HydraConfig.initialized() else None
