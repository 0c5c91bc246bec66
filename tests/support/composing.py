"""Hydra reads each file of settings once in a test process, and builds each choice of options once; OmegaConf parses
each interpolation once.

That took a tenth of a second in every command. The values of a command line are applied by Hydra itself each time.
"""

import copy
import functools
import pickle
from dataclasses import dataclass
from typing import Any

import omegaconf.base
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra.core.default_element import InputDefault, ResultDefault
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from src.settings.project import CONF_DIR

UNCHANGING = {"hydra.conf", str(CONF_DIR), ""}  # during the tests: files of Hydra and of ours, the config store

load = ConfigRepository.load_config
build = ConfigLoaderImpl._compose_config_from_defaults_list
parse = omegaconf.base.parse
interpolation_map = defaults_list._create_interpolation_map


@dataclass
class Copies:
    """Since what is read becomes a part of what is built."""

    repo: Any

    def load_config(self, config_path: str) -> ConfigResult | None:
        return copy.deepcopy(self.repo.load_config(config_path))

    def get_schema_source(self) -> Any:
        return self.repo.get_schema_source()


def unchanging(repo: ConfigRepository) -> bool:
    return {source.path for source in repo.sources} == UNCHANGING


def compose_each_once() -> None:
    """Errors are not kept."""
    files: dict[str, ConfigResult | None] = {}
    choices: dict[tuple[str, ...], bytes] = {}  # pickled: a copy of its own for everybody, faster than by copy.deepcopy

    def load_once(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        if not unchanging(self):
            return load(self, config_path)
        if config_path not in files:
            files[config_path] = load(self, config_path)
        return files[config_path]

    def build_once(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: CachingConfigRepository) -> DictConfig:
        if not unchanging(repo.delegate):
            return build(self, defaults, repo)
        key = tuple(map(repr, defaults))
        if key not in choices:
            choices[key] = pickle.dumps(build(self, defaults, Copies(repo)))
        return pickle.loads(choices[key])

    ConfigRepository.load_config = load_once
    ConfigLoaderImpl._compose_config_from_defaults_list = build_once
    defaults_list._create_interpolation_map = map_at_need
    omegaconf.base.parse = functools.cache(parse)  # what comes of an interpolation is looked up each time


def map_at_need(overrides: Any, defaults: list[InputDefault], self_added: bool) -> DictConfig:
    """Hydra makes it for every file, though only interpolations in lists of defaults look anything up in it."""
    if not any(one.is_interpolation() for one in defaults):
        return OmegaConf.create()
    return interpolation_map(overrides, defaults, self_added)
