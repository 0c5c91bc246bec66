"""The options of a group, as its yaml files have them: what this project itself offers."""

from typing import Any, cast

from omegaconf import OmegaConf

from src.settings.project import CONF_DIR


def options_of(group: str) -> dict[str, dict[str, Any]]:
    """Values by the option's name, without those of the files that an option builds on."""
    files = sorted((CONF_DIR / group).glob("*.yaml"))
    return {file.stem: cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file))) for file in files}


def targets_of(group: str) -> set[str]:
    """The dotted names that the options of a group give as `_target_`."""
    return {option["_target_"] for option in options_of(group).values() if "_target_" in option}
