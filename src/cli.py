"""What every command shares: composing its settings, telling mistakes in one line, the log, the exit status.

Imports no torch, so that a mistyped setting is answered at once.
"""

import atexit
import errno
import gc
import itertools
import json
import logging
import os
import re
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config import CONF_DIR, register
from src.data.workers import lost_workers_told
from src.errors import TERMINATED, ConfigError, RunStopped, did_you_mean
from src.validate import check_settings

log = logging.getLogger(__name__)

Task = Callable[[DictConfig], float | None]
GROUP_OVERRIDE = re.compile(r"^\+?([a-z_/]+)=([\w.-]+)$")


def command(config_name: str) -> Callable[[Task], Callable[[], None]]:
    """Turn `task(cfg)` into a command line over `conf/<config_name>.yaml`.

    Mistakes of the user (ConfigError, and whatever Hydra refuses) are printed to stderr as one short message, and the
    exit status is 1. In a sweep a failing job is reported, and the others go on.
    """

    def decorate(task: Task) -> Callable[[], None]:
        full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
        typed: list[str] = []

        def checked(cfg: DictConfig) -> float | None:
            set_up_log(Path(cfg.output_dir) if "output_dir" in cfg else None)
            check_settings(cfg, yaml_values())
            with lost_workers_told():
                return task(cfg)

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
            except RunStopped as stopped:
                if full_error:
                    raise
                fail(str(stopped), stopped.status)
            except Exception as error:
                if full_error:
                    raise
                fail(message_of(error, config_name) if is_mistake(error) else traceback.format_exc())

        def main() -> None:
            register()
            register_resolvers()
            typed[:] = sys.argv[1:]
            sys.argv[1:] = prepare(typed)
            # Makes Hydra raise what is wrong with the settings, instead of printing it.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            Hydra.get_mode = mode_of  # type: ignore[method-assign, assignment]
            try:
                check_launch(typed)
                hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)(job)()
            except KeyboardInterrupt:
                fail("Interrupted.", status=130)
            except (ConfigError, HydraException, OmegaConfBaseException, OSError) as error:
                if full_error or not is_mistake(error):
                    raise
                fail(message_of(error, config_name))
            except Exception as error:
                if full_error or not {"-m", "--multirun"} & set(typed):
                    raise
                fail(  # jobs catch their own errors, so this is the launcher's: one of its processes was killed, say
                    f"The sweep was broken off. {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}\n"
                    "The same command with hydra.sweep.dir=<its folder> resume=auto goes on with its jobs; "
                    "HYDRA_FULL_ERROR=1 shows everything."
                )
            if failed_jobs:
                fail(f"{len(failed_jobs)} job(s) of the sweep failed: {', '.join(failed_jobs)}")

        return main

    return decorate


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


PATHS = (
    "ckpt", "model", "resume", "images", "root", "output", "output_dir", "report", "data.root", "data.file",
    "data.split_file", "data.cache_dir", "backbone.weights",
)  # fmt: skip
SEVERAL = re.compile(r".*,|(?:range|choice|interval|glob|shuffle|sort)\(")  # values of a sweep
resume_changes: list[str] = []  # what the command line changes in a resumed run


def prepare(arguments: list[str]) -> list[str]:
    """The command line as Hydra takes it.

    Paths may hold blanks, brackets, = and ~ as they are: Hydra wants such values quoted. With resume=, the other
    settings go to `resume_changes`, since it is the resumed run's settings that they change and not the defaults.
    """
    sweeping = "-m" in arguments or "--multirun" in arguments
    arguments, prepared = gather_runs(arguments), []
    for text in arguments:
        key, equals, value = text.partition("=")
        bare = value not in ("null", "???") and not value.startswith(("'", '"', "[", "$"))
        if equals and key.lstrip("+") in PATHS and bare and value and not (sweeping and "," in value):
            value = str(Path(value).expanduser()) if value.startswith("~") else value
            escaped = value.replace('"', '\\"')
            text = f'{key}="{escaped}"'
        prepared.append(text)
    given = {text.partition("=")[0].lstrip("+"): text.partition("=")[2] for text in prepared}
    if "output_dir" in given and "hydra.run.dir" not in given and not sweeping:
        prepared.append(f"hydra.run.dir={given['output_dir']}")  # else Hydra makes a second folder
    if sweeping:
        # What varies names the jobs' folders. Said here: a job on another machine does not know this command line.
        fixed = [key for key, value in given.items() if value and not SEVERAL.match(value)]
        settings_of_task = [key for key in fixed if not key.startswith(("hydra.", "hydra/"))]
        prepared.append(f"hydra.job.config.override_dirname.exclude_keys={settings_of_task}")
    resume_changes.clear()
    if given.get("resume", "null").strip('"') not in ("null", "auto"):
        settings = re.compile(r"^\+*(?!hydra\.|resume=|output_dir=)[a-z_]+[\w.]*=")
        resume_changes.extend(text for text in arguments if settings.match(text))
        prepared = [text for text in prepared if not settings.match(text)]
    return prepared


def gather_runs(arguments: list[str]) -> list[str]:
    """`runs=a b c`, as a shell completes and expands it, as the list that Hydra takes."""
    first = next((n for n, text in enumerate(arguments) if text.startswith("runs=")), None)
    if first is None or arguments[first].startswith("runs=["):
        return arguments
    runs, rest = [arguments[first].removeprefix("runs=")], list[str]()
    for text in arguments[first + 1 :]:
        bare = not text.startswith("-") and ("=" not in text or Path(text).expanduser().exists())
        (runs if bare else rest).append(text)
    escaped = [str(Path(run).expanduser()).replace('"', '\\"') for run in runs if run]
    return [*arguments[:first], "runs=[" + ",".join(f'"{run}"' for run in escaped) + "]", *rest]


def check_launch(arguments: list[str]) -> None:
    """Raise ConfigError where processes that something else started could not agree on what to do."""
    given = {text.partition("=")[0] for text in arguments}
    sweeping = bool({"-m", "--multirun"} & given)
    named = bool({"hydra.sweep.dir"} & given if sweeping else {"output_dir", "hydra.run.dir"} & given)
    if launched_id() is not None and sweeping:
        raise ConfigError(
            "A sweep starts the processes of its jobs itself: leave torchrun or srun out, and set trainer.devices."
        )
    if launched_id() == "" and not named and not any(text.startswith("resume=") for text in arguments):
        raise ConfigError(
            "The processes that torchrun started have to agree on a directory: give output_dir=<dir>, or give torchrun "
            "--rdzv-id=<a new name> (--standalone has one of its own)."
        )
    if "resume=auto" in arguments and sweeping and not named:
        raise ConfigError("resume=auto goes on with the jobs of a sweep's folder: give hydra.sweep.dir=<dir>.")
    if "resume=auto" in arguments and not named and not launched_id():
        raise ConfigError("resume=auto goes on with the run in output_dir, if there is one: give output_dir=<dir>.")


def launched_id() -> str | None:
    """What names this start of several processes by torchrun or srun, the same on all of them; None if it is none.

    An empty text if torchrun was given no name.
    """
    environ = os.environ
    if "TORCHELASTIC_RUN_ID" in environ and int(environ.get("WORLD_SIZE", 1)) > 1:
        name = environ["TORCHELASTIC_RUN_ID"]
        return "" if name == "none" else safe_name(name)
    if "SLURM_STEP_ID" in environ and int(environ.get("SLURM_NTASKS", 1)) > 1:
        return f"{environ['SLURM_JOB_ID']}.{environ['SLURM_STEP_ID']}"
    return None


def is_mistake(error: Exception) -> bool:
    """Whether the user can mend it, so that a traceback would only hide what to do."""
    known = isinstance(error, ConfigError | RunStopped | HydraException | OmegaConfBaseException)
    lightnings = type(error).__name__ == "MisconfigurationException"  # which is not imported here
    return known or lightnings or (isinstance(error, OSError) and error.errno in BAD_DISK)


BAD_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


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
            fail(str(error), error.status)  # the whole sweep was told to end
        text = message_of(error) if is_mistake(error) else traceback.format_exc()
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
    import fcntl  # not on Windows

    gpus = visible_gpus()
    if gpu_locks or len(gpus) < 2:
        return
    for round_, gpu in ((n, gpu) for n in itertools.count() for gpu in gpus):
        lock = (sweep_dir / f".gpu_{safe_name(gpu)}_{round_}").open("w")
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gpu_locks.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return
        lock.close()


gpu_locks: list[TextIO] = []


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
    done = subprocess.run([sys.executable, "-m", "src.job", str(settings)], stderr=subprocess.PIPE, text=True)
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
    print(message, file=sys.stderr)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:  # something was logged before
            handler.emit(log.makeRecord(log.name, logging.ERROR, "", 0, message, (), None))
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.RUN:
        remove_if_unused(Path(HydraConfig.get().runtime.output_dir))
    sys.exit(status)


def remove_if_unused(run_dir: Path) -> None:
    if run_dir.resolve() != Path.cwd() and run_dir.is_dir() and not any(run_dir.iterdir()):
        run_dir.rmdir()


# ---------------------------------------------------------------------------------------------------------- messages


def yaml_values() -> dict[str, Any]:
    """What the yaml files say for the groups in which this command line changes values, to compare the kinds."""
    groups = {text.split(".")[0] for text in HydraConfig.get().overrides.task if "." in text.split("=")[0]}
    choices = HydraConfig.get().runtime.choices
    return {group: read_option(group, str(choices[group])) for group in groups if group in choices}


def read_option(group: str, option: str) -> dict[str, Any]:
    """`conf/<group>/<option>.yaml` with the files that it builds on; empty for options without a file."""
    file = CONF_DIR / group / f"{option}.yaml"
    if not file.exists():
        return {}
    values = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file)))
    parents = [name for name in values.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    return {**{key: value for parent in parents for key, value in read_option(group, parent).items()}, **values}


def defaults_of(config_name: str) -> DictConfig:
    """The settings with the groups chosen on the command line, but with no single value changed."""
    chosen = [text for text in sys.argv[1:] if is_group_choice(text)]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return hydra.compose(config_name, overrides=chosen)


def chosen_option(group: str, config_name: str) -> str:
    """What the command line, or else the defaults list, takes from a group."""
    file = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(CONF_DIR / f"{config_name}.yaml")))
    listed = [item for item in file["defaults"] if isinstance(item, dict)]
    options = {name: str(option) for item in listed for name, option in item.items()}
    chosen = [match for text in sys.argv[1:] if (match := GROUP_OVERRIDE.match(text))]
    options |= {match[1]: match[2] for match in chosen}
    return options.get(group, "")


def is_group_choice(override: str) -> bool:
    match = GROUP_OVERRIDE.match(override)
    return match is not None and (CONF_DIR / match[1]).is_dir()


def message_of(error: BaseException, config_name: str = "train") -> str:
    """One short text for a refused setting: what it was, what is allowed, and the nearest right spelling."""
    text, cause = str(error), str(error.__cause__ or "")
    if isinstance(error, ConfigError):
        return text
    if isinstance(error, OSError) and not isinstance(error, HydraException):  # MissingConfigException is both
        return f"{error.strerror}: {error.filename or 'a file of the run'}. What was written before is unharmed."
    if group := re.search(r"Could not find '([\w/]+)/([^/']+)'\s+Available options in '\S+':\n((?:\t\S+\n?)*)", text):
        name, option, options = group[1], group[2], group[3].split()
        return f"{name}='{option}' does not exist.{did_you_mean(option, options)} Options: {', '.join(options)}."
    if bare := re.search(r"Error parsing override '([^']*)'", text):
        return f"'{bare[1]}' is not understood: settings are given as key=value, with no blanks around the =."
    if unknown := re.search(r"Could not (?:override|delete(?: from config)?)\W+'?~?([\w.@/-]+)", text):
        return unknown_key_message(unknown[1].removesuffix("."), config_name)
    if wrong := re.search(
        r"Value '(.*)' of type '\w+' could not be converted to (\w+)\n\s*full_key: (\S+)", cause + text
    ):
        return f"{wrong[3]}='{wrong[1]}' is not {KIND_NAMES.get(wrong[2], wrong[2].lower())}."
    if wrong := re.search(r"field '(\S+)' is not Optional", cause + text):
        return f"{wrong[1]}=null is not allowed: it needs a value."
    if missing := re.search(r"Missing mandatory value: (\S+)", cause + text):
        return f"{missing[1]} is not set: give {missing[1]}=<value>."
    lines = [line for line in f"{text}\n{cause}".splitlines() if line.strip()]
    return "\n".join(line for line in lines if "hydra.cc" not in line and "object_type" not in line)


KIND_NAMES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def unknown_key_message(key: str, config_name: str) -> str:
    *parents, last = key.split(".")
    settings: Any = {}
    other_groups = any(text.startswith(("task=", "experiment=")) for text in sys.argv[1:])  # they choose for others
    if len(parents) == 1 and is_group_choice(f"{parents[0]}=x") and not other_groups:  # needs no second composing
        settings = OmegaConf.create({parents[0]: read_option(parents[0], chosen_option(parents[0], config_name))})
    if not settings.get("".join(parents)):
        try:
            settings = defaults_of(config_name)
        except Exception:
            return f"{key} is no setting of this command."
    seen = []
    for parent in parents:
        key_or_index = int(parent) if isinstance(settings, ListConfig) and parent.isdigit() else parent
        try:
            settings = settings[key_or_index]
        except (KeyError, IndexError, TypeError, OmegaConfBaseException):
            last = parent
            break
        seen.append(parent)
    prefix = "".join(f"{parent}." for parent in seen)
    choices = [str(name) for name in settings] if isinstance(settings, DictConfig) else []
    near = did_you_mean(last, choices, prefix)
    where = f"settings of {'.'.join(seen)}" if seen else "settings and groups"
    target = settings.get("_target_") if isinstance(settings, DictConfig) else None
    more = f" +{prefix}{last}=<value> passes another argument to {target}." if target else ""
    return f"{prefix}{last} is no setting.{near} The {where}: {', '.join(choices)}.{more}"


# --------------------------------------------------------------------------------------------- run directories, log


def register_resolvers() -> None:
    OmegaConf.register_new_resolver("run_dir", run_dir, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_dir", job_dir, replace=True)


def run_dir(resume: str | None, name: str) -> str:
    """A new `logs/runs/<date_time>_<name>`, or the directory of the run that is resumed."""
    if resume is not None and Path(resume).exists():
        return str(resumed_run_dir(Path(resume)))
    if launch := launched_id():
        return f"logs/runs/{launch}_{safe_name(name)}"
    stem = f"logs/runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}_{safe_name(name)}"
    return next(path for n in range(1, 1000) if not Path(path := f"{stem}_{n}" if n > 1 else stem).exists())


def resumed_run_dir(resume: Path) -> Path:
    """`<run>` for `<run>`, `<run>/checkpoints` and `<run>/checkpoints/last.ckpt`."""
    folder = resume if resume.is_dir() else resume.parent
    return folder.parent if folder.name == "checkpoints" else folder


def job_dir(number: int, overrides: str) -> str:
    """`<number>_<key=value,...>` of a sweep's job, with what `prepare` left in Hydra's override_dirname."""
    return f"{number}_{safe_name(overrides)}"[:100].rstrip("_")


def safe_name(text: str) -> str:
    return re.sub(r"[^\w.=,+-]+", "-", str(text)).strip("-")


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is at that moment, so that a progress bar can lift itself over a log line."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        pass


def set_up_log(output_dir: Path | None) -> None:
    """Our own log lines go to stderr and to `<output_dir>/train.log`; other libraries' only from warnings on."""
    root = logging.getLogger()
    for handler in root.handlers:
        handler.close()
    main_process = process_rank() == 0
    console = ConsoleHandler()
    console.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    root.handlers = [console]
    if output_dir is not None and main_process:
        output_dir.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(output_dir / "train.log", delay=True, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        root.addHandler(file)
    root.setLevel(logging.WARNING)
    quieten_libraries()
    logging.getLogger("src").setLevel(logging.INFO if main_process else logging.ERROR)


def process_rank() -> int:
    """Of this process among all of a run: as torchrun, srun or Lightning, in this order, have numbered it."""
    names = ("RANK", "SLURM_PROCID" if launched_id() else "LOCAL_RANK", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def quieten_lightning() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def quieten_libraries() -> None:
    """Our log says what Lightning's own lines say; warnings that a user of this project can do nothing about go."""
    warnings.filterwarnings("ignore", module="PIL")  # half-damaged files; what cannot be read is reported by path
    quieten_lightning()
    for message in (
        ".*module.s. in eval mode at the start of training.*",  # frozen modules, on purpose
        ".*does not have many workers.*",
        ".*`srun` command is available on your system but is not used.*",  # src/build.py looks who started the run
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*number of training batches .* is smaller than the logging interval.*",
        ".*No positive samples found in target.*",
        ".*Experiment logs directory .* exists and is not empty.*",
        ".*using `DistributedSampler`.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*It is recommended to use .self.log.*sync_dist=True.*",  # these values are the same on every process
        ".*resuming from a checkpoint that ended before the epoch ended.*",  # the sampler knows where to go on
        ".*callbacks used to create the checkpoint need to be provided.*",
    ):
        warnings.filterwarnings("ignore", message=message)
