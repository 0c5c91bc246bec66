"""recipe=auto: the settings of this command line with the recipe that was found for the data."""

from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.cli.options import chosen_experiment, composed
from src.settings.check import check_settings
from src.settings.errors import ConfigError


def require_no_other_recipe() -> None:
    """Raise ConfigError where recipe=auto has nothing to choose, or cannot."""
    if not HydraConfig.initialized():
        raise ConfigError(
            "recipe=auto looks at the images in one process of one run. With sweep=search, or several trainer.devices, "
            "name the recipe that it takes in one: experiment=<name>."
        )
    if (chosen := chosen_experiment()) is not None:
        raise ConfigError(f"recipe=auto chooses a recipe, and experiment={chosen} is one: leave one of the two out.")


def with_settings(output_dir: str, recipe: Sequence[str]) -> DictConfig:
    """The same command line with these settings before its own, which therefore hold; for a run in this directory."""
    typed = [text for text in HydraConfig.get().overrides.task if text.lstrip("+").partition("=")[0] != "recipe"]
    settings = composed("train", [*recipe, *typed])
    settings.output_dir = output_dir
    settings.recipe = " ".join(recipe)
    check_settings(settings, {})
    return settings
