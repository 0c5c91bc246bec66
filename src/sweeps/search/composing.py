"""The settings of trials, composed by Hydra from what is typed; all of them are checked before the first one begins."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from src.cli.options import yaml_values
from src.settings.check import check_settings
from src.settings.errors import ConfigError
from src.settings.recipes import AUTO
from src.settings.schema import TrainConfig, train_config
from src.sweeps.search.space import Dimension, Numbers, Space


@dataclass(frozen=True)
class Plan:
    """What all trials have in common. `epochs`: of the longest one, in a fold; `folds`: 1 = none."""

    monitor: str
    mode: str
    epochs: int
    folds: int
    accelerator: str
    devices: Any
    tests: bool

    @property
    def steps(self) -> int:
        """Epochs of the longest trial, all folds together."""
        return self.epochs * self.folds


@dataclass(frozen=True)
class Composer:
    """`load`: composes settings, with Hydra's own among them, of what is typed."""

    load: Callable[[list[str]], DictConfig]

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Raises ConfigError for values that are wrong, HydraException for settings that do not exist."""
        composed = self.load(list(overrides))
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(composed)  # of which ${hydra:...} are
        try:
            settings = copy.deepcopy(composed)
            with read_write(settings), open_dict(settings):
                del settings["hydra"]
            check_settings(settings, yaml_values())
            OmegaConf.resolve(settings)
        finally:
            HydraConfig.instance().cfg = before
        return settings

    def typed(self, overrides: Sequence[str]) -> TrainConfig:
        return train_config(self.compose(overrides))


def checked_plan(composer: Composer, space: Space) -> Plan:
    """Composes a trial for each end of each setting, the other settings being at their first one.

    Raises ConfigError if there is something wrong with one of them.
    """
    first = {one.key: next(one.ends()) for one in space.dimensions}
    tried = [first]
    tried += [first | {one.key: end} for one in space.dimensions for end in one.ends() if end != first[one.key]]
    trials = [checked(composer, space, values) for values in tried]
    one, tests = trials[0], composer.typed([*space.overrides(first), "output_dir=none"]).test
    if any((trial.task.monitor, trial.task.mode) != (one.task.monitor, one.task.mode) for trial in trials):
        raise ConfigError("Some values of the search bring another task.monitor: such trials cannot be compared.")
    if any(trial.recipe == AUTO for trial in trials):
        raise ConfigError("recipe=auto is for one run: try it alone, and search around the experiment that it takes.")
    if any("epoch_log" not in trial.callbacks for trial in trials):
        raise ConfigError("sweep=search reads what callbacks.epoch_log writes after each epoch: it cannot be left out.")
    return Plan(
        one.task.monitor,
        one.task.mode,
        max(trial.trainer["max_epochs"] for trial in trials),
        one.data.get("folds") or 1,
        str(one.trainer["accelerator"]),
        one.trainer["devices"],
        tests,
    )


def checked(composer: Composer, space: Space, values: dict[str, str]) -> TrainConfig:
    try:
        return composer.typed([*space.overrides(values), "output_dir=none", "test=false"])
    except ConfigError as error:
        raise ConfigError(f"{error}{''.join(whole_numbers(one, str(error)) for one in space.dimensions)}") from error


def whole_numbers(dimension: Dimension, problem: str) -> str:
    """What to type instead, if the problem is that a setting takes whole numbers alone."""
    if isinstance(dimension, Numbers) and f"{dimension.key}=" in problem and "is not a whole number" in problem:
        return f" Whole numbers: {dimension.typed}=int(interval({dimension.low:g},{dimension.high:g}))."
    return ""
