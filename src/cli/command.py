"""A command: its settings are composed and checked, its function runs, and whatever goes wrong is one short message.

Imports no torch, so that a mistyped setting is answered at once.
"""

import atexit
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from src.cli.command_line import is_sweep, may_sweep, prepare, require_known_options
from src.cli.launch import check_launch
from src.cli.log import quieten_lightning, set_up_log
from src.cli.mistakes import fail, fail_with, lost_workers_told, message_of
from src.cli.options import yaml_values
from src.cli.own_experiment import with_own_experiments
from src.cli.run_dir import held, interrupted_message, register_resolvers
from src.cli.sweep_job import JOB_OPTION, SWEEP_GOES_ON, Task, read_job_settings, run_sweep_job
from src.settings.check import check_settings
from src.settings.errors import ConfigError, RunStopped, was_interrupted
from src.settings.plurals import number_of
from src.settings.project import CONF_DIR
from src.settings.schema import register

composed_mode = Hydra.get_mode  # a private door of Hydra


@dataclass
class Command:
    """`task(cfg)` as a command line over `conf/<config_name>.yaml`: `main` is the process, `job` one run of the task.

    Whatever goes wrong is one short message on stderr, and the exit status is not 0; only bugs of our own show a
    traceback. In a sweep, which has several jobs, a failing one is reported, and the others go on.
    """

    task: Task
    config_name: str
    full_error: bool = field(default_factory=lambda: os.environ.get("HYDRA_FULL_ERROR") == "1")
    typed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # jobs of the sweep in this process

    def main(self) -> None:
        set_up_console()
        register()
        register_resolvers()
        self.typed, self.failed = sys.argv[1:], []
        if len(self.typed) == 2 and self.typed[0] == JOB_OPTION:
            self.run_or_fail(lambda: self.run(read_job_settings(Path(self.typed[1]))))
            return
        try:
            require_known_options(self.typed)
            sys.argv[1:], _ = prepare(with_own_experiments(self.typed), self.config_name)
            # Makes Hydra raise what is wrong with the settings, instead of printing it.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            Hydra.get_mode = mode_of  # type: ignore[method-assign, assignment]
            check_launch(self.typed)
            hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=self.config_name)(self.job)()
        except KeyboardInterrupt as interrupt:
            text = str(interrupt) or "Interrupted."
            fail(f"{text}\n{SWEEP_GOES_ON}" if is_sweep(self.typed) else text, status=130)
        except Exception as error:
            if self.full_error:
                raise
            told = isinstance(error, ConfigError | RunStopped | HydraException | OmegaConfBaseException | OSError)
            if is_sweep(self.typed) and not told:
                # Jobs catch their own errors, so this is the launcher's: a process of it was killed, say.
                fail(f"The sweep was aborted. {message_of(error, self.config_name)}\n{SWEEP_GOES_ON}")
            fail_with(error, self.config_name)
        if self.failed:
            fail(f"{number_of(len(self.failed), 'job')} of the sweep failed: {', '.join(self.failed)}")

    def job(self, cfg: DictConfig) -> float | None:
        """What Hydra calls with the composed settings, in a sweep perhaps in another process."""
        sys.argv[1:] = self.typed  # for the processes that Lightning starts: they prepare it themselves
        if not self.full_error:
            os.environ.pop("HYDRA_FULL_ERROR", None)  # not for the processes that the task starts
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return run_sweep_job(self.run, cfg, self.config_name, self.failed)
        return self.run_or_fail(lambda: self.run(cfg))

    def run_or_fail(self, run: Callable[[], float | None]) -> float | None:
        try:
            return run()
        except KeyboardInterrupt as interrupt:
            fail(str(interrupt) or "Interrupted.", status=130)
        except Exception as error:
            if self.full_error:
                raise
            fail_with(error, self.config_name)

    def run(self, cfg: DictConfig) -> float | None:
        """The task, by settings that were checked, with the log set up, and alone in its directory if it is a run."""
        # Behind a job's own file there is no yaml.
        check_settings(cfg, yaml_values() if HydraConfig.initialized() else {})
        run_dir = Path(cfg.output_dir) if "output_dir" in cfg else None
        with held(run_dir, cfg.trust) if run_dir is not None else nullcontext(), lost_workers_told():
            set_up_log(run_dir)
            try:
                return self.task(cfg)
            except (KeyboardInterrupt, SystemExit) as error:  # Lightning turns Ctrl-C into the latter
                if not was_interrupted(error):
                    raise
                text = interrupted_message(run_dir) if run_dir is not None else "Interrupted."
                raise KeyboardInterrupt(text) from error


def mode_of(hydra_: Hydra, config_name: str | None, overrides: list[str]) -> Any:
    """One run, where nothing that was typed could bring a sweep.

    Hydra 1.3 composes all settings twice, the first time only to see whether a yaml asks for it.
    """
    if not may_sweep((*sys.argv[1:], *overrides)):
        return RunMode.RUN
    mode = composed_mode(hydra_, config_name, overrides)
    # None also stands for a mistake, which a single run would tell as one of interval(...).
    return RunMode.MULTIRUN if mode is None and "sweep=search" in overrides else mode


def set_up_console() -> None:
    """Names that the terminal's encoding lacks are spelled out, and must not end a command after all its work."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # somebody has put something else in its place
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


@contextmanager
def importing() -> Iterator[None]:
    """For the imports of torch and the like: they make millions of objects and no garbage, so nobody collects any.

    Half a second on two cores. Afterwards all of them are left alone for good, which also lets worker processes share
    their memory.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # else nanobind reports everything that torch imported as leaked
        gc.enable()
        quieten_lightning()  # it sets its own level when it is imported
