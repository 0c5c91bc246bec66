"""The sweeper of `sweep=search`. It lies here since Hydra takes sweepers from the package hydra_plugins alone.

Hydra imports this file at the start of every command, so it imports nothing else before a search begins.
"""

from pathlib import Path
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SearchSweeper(Sweeper):
    """Chooses the settings of each trial by the trials before: `src.sweeps.search`.

    `params`: settings that are searched, with their values as they are typed; `search`: the other settings of
    conf/hydra/sweeper/search.yaml.
    """

    def __init__(self, params: dict[str, Any] | None = None, **search: Any) -> None:
        self.params, self.search = params or {}, search

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        from src.sweeps.search.search import HydraSweep, run_search

        assert self.config is not None and self.hydra_context is not None
        config, loader = self.config, self.hydra_context.config_loader
        sweep = HydraSweep(
            Path(config.hydra.sweep.dir),
            arguments,
            list(config.hydra.overrides.hydra),
            self.params,
            str(config.hydra.launcher._target_),
            config.get("spreadsheet_safe", True),
            lambda typed: loader.load_sweep_config(config, typed),
            loader,
        )
        run_search(sweep, self.search)
