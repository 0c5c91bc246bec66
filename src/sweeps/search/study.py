"""Which values come next, and which trial ends early: Optuna's samplers and pruners over the trials so far."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.settings.errors import ConfigError
from src.sweeps.search.journal import opened
from src.sweeps.search.settings import SearchSettings
from src.sweeps.search.space import Space

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

STARTUP, MEDIAN_STARTUP, THIRDS = 10, 5, 3  # random trials first; whole ones before the median counts; Hyperband's eta


@dataclass
class Tried:
    """A trial so far. `status`: done, pruned, diverged, failed, running; repeated, with the values of one that is done.

    `values`: of the searched settings, as they are typed. `value`: its result, or its best one so far. `steps`: epochs
    trained, of all folds together; `by_step`: the best value until each.
    """

    number: int
    values: dict[str, str]
    status: str
    value: float | None
    steps: int
    error: str = ""
    by_step: dict[int, float] = field(default_factory=dict)


def require_optuna() -> None:
    """Raises ConfigError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        text = "sweep=search needs the extra search: uv sync --extra search, or pip install optuna."
        raise ConfigError(text) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class Study:
    """`steps`: epochs of a whole trial. `file`: None keeps the trials in memory alone."""

    def __init__(self, space: Space, settings: SearchSettings, mode: str, steps: int, file: Path | None = None) -> None:

        self.space, self.settings, self.mode = space, settings, mode
        self.distributions = {one.key: one.distribution() for one in space.dimensions}
        self.study = opened(file, mode)
        self.pruner = pruner(settings.pruner, steps)
        self.require_same_search()

    def require_same_search(self) -> None:
        """Raises ConfigError if the file is of a search for something else."""
        now = {"space": self.space.described(), "fixed": sorted(self.space.fixed), "mode": self.mode}
        before = self.study.user_attrs.get("search")
        if before is None:
            self.study.set_user_attr("search", now)
        elif before != now:
            differing = [
                f"{name} was {shown(before.get(name))}, and is {shown(value)}"
                for name, value in now.items()
                if before.get(name) != value
            ]
            raise ConfigError(
                f"The folder holds another search: {'; '.join(differing)}. The same command goes on with it "
                "(search.trials, search.jobs and the like may change); another search needs another folder."
            )

    def ask(self) -> tuple[int, dict[str, str]]:
        """The next trial's number and values, which depend on the seed and on the trials so far alone."""
        number = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = sampler(self.settings.sampler, self.settings.seed, number)
        trial = self.study.ask(self.distributions)
        return trial.number, self.space.texts(trial.params)

    def reopened(self) -> list[tuple[int, dict[str, str]]]:
        """Number and values of the trials that were running when the search was interrupted."""
        from optuna.trial import TrialState

        running = self.study.get_trials(states=(TrialState.RUNNING,))
        for one in running:
            if not self.has_values(one):  # it was interrupted while it got them
                self.study.tell(one.number, state=TrialState.FAIL)
        return [(one.number, self.space.texts(one.params)) for one in running if self.has_values(one)]

    def open_trial(self, number: int) -> "optuna.Trial":
        """One that has not ended, as `ask` gave it, perhaps in another process."""
        import optuna

        return optuna.Trial(self.study, self.study.trials[number]._trial_id)

    def has_values(self, trial: "FrozenTrial") -> bool:
        return trial.params.keys() >= self.distributions.keys()

    def report(self, number: int, best_by_step: dict[int, float]) -> bool:
        """Take in the best value until each step; returns whether the trial should end here."""
        new = sorted(best_by_step.keys() - self.study.trials[number].intermediate_values.keys()) if best_by_step else []
        for step in new:
            self.open_trial(number).report(best_by_step[step], step)
            if self.pruner is not None and self.pruner.prune(self.study, self.study.trials[number]):
                return True
        return False

    def tell(self, number: int, status: str, value: float | None = None, error: str = "") -> None:
        """How a trial has ended: a status of `Tried`."""
        from optuna.trial import TrialState

        trial = self.open_trial(number)
        trial.set_user_attr("status", status)
        trial.set_user_attr("error", error)
        if status in ("done", "repeated"):
            self.study.tell(number, value)
        else:
            self.study.tell(number, state=TrialState.FAIL if status == "failed" else TrialState.PRUNED)

    def steps_of(self, number: int) -> int:
        return self.study.trials[number].last_step or 0

    def best(self) -> Tried | None:
        """Of the trials that were trained to their end."""
        done = [one for one in self.tried() if one.status == "done" and one.value is not None]
        sign = -1 if self.mode == "max" else 1
        return min(done, key=lambda one: sign * (one.value or 0.0), default=None)

    def tried(self) -> list[Tried]:
        return [tried(one, self.space, self.mode) for one in self.study.trials if self.has_values(one)]


def tried(trial: "FrozenTrial", space: Space, mode: str) -> Tried:
    by_step = {step: value for step, value in sorted(trial.intermediate_values.items())}
    best = max if mode == "max" else min
    status = trial.user_attrs.get("status", "running") if trial.state.is_finished() else "running"
    value = trial.value if status in ("done", "repeated") else best(by_step.values(), default=None)
    error = trial.user_attrs.get("error", "")
    return Tried(trial.number, space.texts(trial.params), status, value, max(by_step, default=0), error, by_step)


def sampler(name: str, seed: int, number: int) -> "optuna.samplers.BaseSampler":
    """Drawn anew for each trial, so that a search that goes on draws as one that was never interrupted."""
    import optuna

    drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if name == "random":
        return optuna.samplers.RandomSampler(seed=drawn)
    return optuna.samplers.TPESampler(seed=drawn, n_startup_trials=STARTUP)


def pruner(name: str, steps: int) -> "optuna.pruners.BasePruner | None":
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=MEDIAN_STARTUP, n_warmup_steps=0)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=steps, reduction_factor=THIRDS)
    return None


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {words}" for key, words in value.items())
    return " ".join(value) if isinstance(value, list) else str(value)
