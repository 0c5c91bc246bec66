"""`sweep=search` from its settings to its report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from src.cli.command_line import SEARCH
from src.cli.launch import launched_id
from src.cli.run_dir import remove_if_unused
from src.files.printable import shell_word
from src.settings.checkpoints import JOB_FILE
from src.settings.errors import ConfigError, RunStopped
from src.settings.plurals import number_of
from src.sweeps.search.composing import Composer, Plan, checked_plan
from src.sweeps.search.loop import Loop
from src.sweeps.search.places import gpus_for, places_for
from src.sweeps.search.report import report_search
from src.sweeps.search.rows import write_row
from src.sweeps.search.settings import SearchSettings
from src.sweeps.search.space import Space, read_space
from src.sweeps.search.study import Study, require_optuna

JOURNAL = "search.jsonl"  # in the sweep's folder: what Optuna knows of the trials


@dataclass(frozen=True)
class HydraSweep:
    """What Hydra knows of a sweep. `typed`: settings of the task; `typed_of_hydra`: settings of Hydra itself.

    `params`: settings with several values, out of yaml files. `load`: composes a job's settings of what is typed.
    """

    folder: Path
    typed: list[str]
    typed_of_hydra: list[str]
    params: dict[str, Any]
    launcher: str
    spreadsheet_safe: bool
    load: Callable[[list[str]], DictConfig]
    loader: ConfigLoader

    def read_space(self) -> Space:
        """What is typed wins over what stands in yaml files. resume=auto says no more than the folder does."""
        typed = [*(f"{key}={value}" for key, value in self.params.items()), *self.typed]
        return read_space([text for text in typed if not text.startswith("resume=")], self.loader)

    def command_again(self) -> str:
        """By which a search goes on, to be typed as it is."""
        searched = [text for text in self.typed_of_hydra if text.startswith(SEARCH)]
        own = [f"search.{text.removeprefix(SEARCH)}" for text in searched]
        words = [*self.typed, *own, f"hydra.sweep.dir={self.folder}"]
        return " ".join(["python -m src.train -m", *map(shell_word, words)])


def run_search(sweep: HydraSweep, search: dict[str, Any]) -> None:
    """Goes on with the search in the sweep's folder, if there is one. Raises ConfigError, RunStopped."""
    folder, composer = sweep.folder, Composer(sweep.load)
    try:
        settings = SearchSettings.read(search)
        require_own_trials(sweep.launcher)
        space = sweep.read_space()
        require_optuna()
        plan = checked_plan(composer, space)
        gpus = gpus_for(plan)
        places = places_for(settings, plan, gpus)
    except Exception:
        remove_if_unused(folder)
        raise
    with alone_in(folder):
        study = Study(space, settings, plan.mode, plan.steps, folder / JOURNAL)
        loop = Loop(folder, study, composer, plan, settings, places, gpus)
        for file in folder.glob(f"*/{JOB_FILE}"):  # also of another sweep that was here
            file.unlink()
        for one in study.tried():
            if one.status != "repeated":  # it has no folder
                write_row(folder, study, plan, one)
        say(folder, space, settings, plan, places, len(study.tried()))
        try:
            loop.run()
        except RunStopped as stopped:
            again = f"{stopped}\nGo on with: {sweep.command_again()}"
            raise RunStopped(again, stopped.status) from stopped
        report_search(folder, study, plan, sweep.spreadsheet_safe)


def require_own_trials(launcher: str) -> None:
    """Raises ConfigError where something else starts processes."""
    if launched_id() is not None:
        raise ConfigError(
            "A search starts the processes of its trials itself: leave torchrun or srun out, and set trainer.devices."
        )
    if "basic_launcher" not in launcher:
        raise ConfigError(
            "sweep=search starts the processes of its trials itself: leave hydra/launcher out. search.jobs=<number> "
            "runs several at a time on this machine."
        )


def say(folder: Path, space: Space, settings: SearchSettings, plan: Plan, places: int, before: int) -> None:
    """What is searched, where and how."""
    goes_on = f", of which {before} were begun before" if before else ""
    folds = f" in each of {plan.folds} folds" if plan.folds > 1 else ""
    at_once = f", {places} at a time" if places > 1 else ""
    print(f"Search in {folder}: {number_of(settings.trials, 'trial')}{goes_on}{at_once}")
    print(f"  up to {number_of(plan.epochs, 'epoch')}{folds}, sampler {settings.sampler}, pruner {settings.pruner}")
    width = max(map(len, space.described()))
    for key, words in space.described().items():
        print(f"  {key:{width}}  {words}", flush=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Raises ConfigError if another search is at work in the folder, or if it cannot be made."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".search.lock", timeout=0):
            yield
    except Timeout:
        raise ConfigError(f"hydra.sweep.dir='{folder}' is in use by another search: wait, or name another.") from None
