"""What every command shares: composing its settings, telling mistakes in one message, sweeps' jobs, the exit status.

Imports no torch, so that a mistyped setting is answered at once.
"""

import atexit
import gc
import itertools
import json
import logging
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.command_line import check_launch, is_sweep, launched_id, prepare, safe_name
from src.cli.log import quieten_lightning, set_up_log
from src.cli.mistakes import is_bug, message_of, yaml_values
from src.cli.run_dir import held, interrupted_message, register_resolvers, remove_if_unused
from src.data.workers import lost_workers_told
from src.files.printable import printable
from src.settings.check import check_settings
from src.settings.errors import TERMINATED, ConfigError, RunStopped, was_interrupted
from src.settings.schema import CONF_DIR, register

log = logging.getLogger(__name__)

Task = Callable[[DictConfig], float | None]


def command(config_name: str) -> Callable[[Task], Callable[[], None]]:
    """Turn `task(cfg)` into a command line over `conf/<config_name>.yaml`.

    Whatever goes wrong is one short message on stderr, and the exit status is not 0; only bugs of our own show a
    traceback. In a sweep a failing job is reported, and the others go on.
    """

    def decorate(task: Task) -> Callable[[], None]:
        full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
        typed: list[str] = []

        def checked(cfg: DictConfig) -> float | None:
            check_settings(cfg, yaml_values())
            run_dir = Path(cfg.output_dir) if "output_dir" in cfg else None
            with held(run_dir, cfg.trust) if run_dir is not None else nullcontext(), lost_workers_told():
                set_up_log(run_dir)
                try:
                    return task(cfg)
                except (KeyboardInterrupt, SystemExit) as error:  # Lightning turns Ctrl-C into the latter
                    if not was_interrupted(error):
                        raise
                    text = interrupted_message(run_dir) if run_dir is not None else "Interrupted."
                    raise KeyboardInterrupt(text) from error

        def job(cfg: DictConfig) -> float | None:
            sys.argv[1:] = typed  # for the processes that Lightning starts: they prepare it themselves
            if not full_error:
                os.environ.pop("HYDRA_FULL_ERROR", None)  # not for the processes that the task starts
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                return run_sweep_job(checked, cfg)
            try:
                return checked(cfg)
            except KeyboardInterrupt as interrupt:
                fail(str(interrupt) or "Interrupted.", status=130)
            except Exception as error:
                if full_error:
                    raise
                fail_with(error, config_name)

        def main() -> None:
            set_up_console()
            register()
            register_resolvers()
            typed[:] = sys.argv[1:]
            try:
                sys.argv[1:], _ = prepare(typed, config_name)
                # Makes Hydra raise what is wrong with the settings, instead of printing it.
                os.environ["HYDRA_FULL_ERROR"] = "1"
                Hydra.get_mode = mode_of  # type: ignore[method-assign, assignment]
                check_launch(typed)
                hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)(job)()
            except KeyboardInterrupt as interrupt:
                text = str(interrupt) or "Interrupted."
                fail(f"{text}\n{SWEEP_GOES_ON}" if is_sweep(typed) else text, status=130)
            except Exception as error:
                if full_error:
                    raise
                told = isinstance(error, ConfigError | HydraException | OmegaConfBaseException | OSError)
                if is_sweep(typed) and not told:
                    fail(  # jobs catch their own errors, so this is the launcher's: a process of it was killed, say
                        f"The sweep was broken off. {message_of(error, config_name)}\n{SWEEP_GOES_ON}"
                    )
                fail_with(error, config_name)
            if failed_jobs:
                fail(f"{len(failed_jobs)} job(s) of the sweep failed: {', '.join(failed_jobs)}")

        return main

    return decorate


SWEEP_GOES_ON = "The same command with hydra.sweep.dir=<the sweep's folder> resume=auto goes on with its jobs."


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


compose_mode = Hydra.get_mode


def mode_of(hydra_: Hydra, config_name: str | None, overrides: list[str]) -> Any:
    """Hydra 1.3 composes all settings twice, the first time only to see whether a yaml asks for a sweep."""
    may_sweep = ("sweep=", "experiment=", "hydra", "-m", "--multirun")
    if any(text.lstrip("+").startswith(may_sweep) for text in (*sys.argv[1:], *overrides)):
        return compose_mode(hydra_, config_name, overrides)
    return RunMode.RUN


failed_jobs: list[str] = []


def run_sweep_job(task: Task, cfg: DictConfig) -> float | None:
    """One job of a sweep. A failure is written to `error.txt` in the job's folder; its result is then not a number."""
    number, output_dir = HydraConfig.get().job.num, Path(HydraConfig.get().runtime.output_dir)
    (output_dir / "error.txt").unlink(missing_ok=True)  # of an earlier try, if the job goes on with it
    try:
        if "joblib" in str(HydraConfig.get().launcher._target_) and wants_one_gpu(cfg):
            keep_one_gpu(output_dir.parent)
        if launched_id() is None and wants_processes(cfg):
            return run_in_processes(cfg, output_dir)
        return task(cfg)
    except Exception as error:
        if isinstance(error, RunStopped) and error.status == TERMINATED:
            fail(f"{error}\n{SWEEP_GOES_ON}", error.status)  # the whole sweep was told to end
        text = traceback.format_exc() if is_bug(error) else message_of(error)
        (output_dir / "error.txt").write_text(text + "\n", encoding="utf-8")
        log.error("Job %s failed: %s", number, text)
        failed_jobs.append(output_dir.name)
        return float("nan")


def wants_processes(cfg: DictConfig) -> bool:
    """Whether this job trains in more than one process on this machine. In a sweep, `auto` is one."""
    devices = cfg.trainer.devices if "trainer" in cfg else 1
    if isinstance(devices, ListConfig):
        return len(devices) > 1
    return str(devices) not in ("auto", "0", "1")


def wants_one_gpu(cfg: DictConfig) -> bool:
    return (
        "trainer" in cfg and cfg.trainer.accelerator not in ("cpu", "mps") and str(cfg.trainer.devices) in ("auto", "1")
    )


def keep_one_gpu(sweep_dir: Path) -> None:
    """Show this process one GPU, whichever the fewest other processes of the sweep have: else all would use the first.

    joblib's processes run one job after the other, and CUDA cannot change its GPU once it has started; so a process
    keeps its GPU for all its jobs, and the lock on it until it ends, however that happens.
    """
    from filelock import FileLock, Timeout

    gpus = visible_gpus()
    if gpu_locks or len(gpus) < 2:
        return
    for round_, gpu in ((n, gpu) for n in itertools.count() for gpu in gpus):
        lock = FileLock(sweep_dir / f".gpu_{safe_name(gpu)}_{round_}")
        with suppress(Timeout):
            lock.acquire(timeout=0)
            gpu_locks.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return


gpu_locks: list[Any] = []


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. Found without torch."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [gpu.strip() for gpu in allowed.split(",") if gpu.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    except OSError:
        return []
    return re.findall(r"^GPU (\d+):", listed, re.MULTILINE)


def run_in_processes(cfg: DictConfig, output_dir: Path) -> float | None:
    """Train in a process of its own, which starts the others: Lightning gives these its own command line.

    From here, that would be the whole sweep's. Returns the monitored metric; raises ConfigError if the job failed.
    """
    settings = output_dir / "config.yaml"
    settings.write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "src.sweeps.job", str(settings)], stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    if done.returncode == TERMINATED:
        raise RunStopped("The job was told to end.", TERMINATED)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if not LOG_LINE.match(line)]
        raise ConfigError("\n".join(lines) or f"The job ended with exit status {done.returncode}.")
    metrics = json.loads((output_dir / "metrics.json").read_text(encoding="utf-8"))
    return cast(float | None, metrics.get(cfg.task.monitor))


LOG_LINE = re.compile(r"\d\d:\d\d:\d\d ")


def fail(message: str, status: int = 1) -> NoReturn:
    """End the program with a message on stderr and in the log, and take away the run directory if it is still empty."""
    print(printable(message), file=sys.stderr)
    note_in_log(message)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.RUN:
        made = OmegaConf.select(cast(Any, HydraConfig.get()), "runtime.output_dir", throw_on_missing=False)
        if made is not None:
            remove_if_unused(Path(made))
    sys.exit(status)


def fail_with(error: Exception, config_name: str) -> NoReturn:
    """`fail` with what the error means to the user; where it happened is in the run's log, or shown if it is a bug."""
    where = "".join(traceback.format_exception(error))
    if is_bug(error):
        fail(f"{where}\nThis is a fault of the program, and not of your settings or data: please report it.")
    if not isinstance(error, ConfigError | RunStopped):
        note_in_log(where)
    fail(message_of(error, config_name), error.status if isinstance(error, RunStopped) else 1)


def note_in_log(text: str) -> None:
    """Only in the file, if something was logged before."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            handler.emit(log.makeRecord(log.name, logging.ERROR, "", 0, text, (), None))
