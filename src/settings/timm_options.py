"""`backbone=timm/<name>` as an option of the group backbone, for Hydra: a yaml that nobody has to write."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from src.settings.timm_names import PREFIX

_OPTIONS = f"backbone/{PREFIX}"


class TimmOptions(ConfigSource):
    """Any name is an option: whether timm has it is told later, with the nearest name that it has."""

    @staticmethod
    def scheme() -> str:
        return "timm"

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.removesuffix(".yaml").removeprefix("backbone/")
        node = OmegaConf.create({"name": name, "weights": "DEFAULT"})
        return ConfigResult(self.provider, config_path, node, {"package": "backbone"})

    def available(self) -> bool:
        return True

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith(_OPTIONS) and config_path != _OPTIONS

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") == _OPTIONS.rstrip("/")

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return []  # --help names the way to timm's list


class TimmSearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("timm", "timm://")


def register_timm() -> None:
    for plugin in (TimmOptions, TimmSearchPath):
        Plugins.instance().register(plugin)
