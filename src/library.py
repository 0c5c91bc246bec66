"""Fine-tuning from Python code, in this process: what the command line does, with exceptions and without its exit."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from src.build.trained_model import TrainedModel
from src.cli.command import Command
from src.cli.command_line import is_sweep, prepare
from src.cli.mistakes import message_of
from src.cli.own_experiment import with_own_experiments
from src.cli.run_dir import register_resolvers, remove_if_unused
from src.cli.sweep_job import run_in_processes, wants_processes
from src.settings.errors import ConfigError
from src.settings.project import CONF_DIR
from src.settings.schema import register
from src.train import train

__all__ = ["FineTuned", "TrainedModel", "fine_tune"]


@dataclass(frozen=True)
class FineTuned:
    """What a run left: its directory, and its metrics as in metrics.json (none after a dry run)."""

    directory: Path
    metrics: dict[str, Any]

    @property
    def report(self) -> Path:
        """The page with everything in it."""
        return self.directory / "report" / "index.html"

    def open(self, accelerator: str = "cpu") -> TrainedModel:
        """Its best checkpoint, ready to predict; see `TrainedModel.open`."""
        return TrainedModel.open(self.directory, accelerator)


def fine_tune(*settings: str) -> FineTuned:
    """`python -m src.train <settings>`, each as on the command line: `fine_tune("backbone=resnet50", "seed=1")`.

    Several `trainer.devices` train in processes of their own, as the jobs of a sweep do. Raises ConfigError for what a
    command would tell and end with, RunStopped if the run was told to end, and KeyboardInterrupt after Ctrl-C, which
    says how to go on.
    """
    if is_sweep(settings):
        raise ConfigError("fine_tune runs once: leave out -m, and call it for each of the values.")
    with as_typed(settings):
        try:
            cfg = composed(settings)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(message_of(error)) from error
        directory = Path(cfg.output_dir)
        try:
            if wants_processes(cfg.trainer.devices):
                directory.mkdir(parents=True, exist_ok=True)
                OmegaConf.save(cfg, directory / "config.yaml", resolve=True)
                run_in_processes(directory, "train", cfg.task.monitor)
            else:
                Command(train, "train").run(cfg)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(message_of(error)) from error
        finally:
            remove_if_unused(directory)
    file = directory / "metrics.json"
    return FineTuned(directory, json.loads(file.read_text(encoding="utf-8")) if file.exists() else {})


def composed(settings: tuple[str, ...]) -> DictConfig:
    """The settings of one run, and Hydra's own where the rest of the program looks for them."""
    prepared, _ = prepare(with_own_experiments(settings))
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        cfg = hydra.compose("train", overrides=prepared, return_hydra_config=True)
    with open_dict(cfg):
        # Resolved once: a new run's directory is made by that.
        cfg.hydra.runtime.output_dir = cfg.hydra.run.dir = cfg.hydra.run.dir
        HydraConfig.instance().set_config(cfg)
        del cfg["hydra"]
    return cfg


@contextmanager
def as_typed(settings: tuple[str, ...]) -> Iterator[None]:
    """Within, the program is the command with these settings; afterwards, log and arguments are the caller's again."""
    root, argv = logging.getLogger(), sys.argv
    handlers, level, own_settings = root.handlers, root.level, HydraConfig.instance().cfg
    register()
    register_resolvers()
    GlobalHydra.instance().clear()
    sys.argv = ["src.train", *settings]
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers, sys.argv = handlers, argv
        root.setLevel(level)
        HydraConfig.instance().cfg = own_settings
