"""The command line as it is typed, made into what Hydra understands: free text is quoted, paths are expanded."""

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from src.settings.errors import ConfigError
from src.settings.schema import CONF_DIR

PATHS = (
    "ckpt", "model", "resume", "images", "root", "output", "output_dir", "report", "data.root", "data.file",
    "data.split_file", "data.cache_dir", "backbone.weights", "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip
TEXTS = (
    "name", "class_name", "data.path_column", "data.label_columns", "data.split_column", "data.group_column",
    "data.name",
)  # fmt: skip
SEVERAL = re.compile(r".*,|(?:range|choice|interval|glob|shuffle|sort)\(")  # values of a sweep
KEY = re.compile(r"(?:\+\+?|~)?[\w@./\\-]+")


def quoted(text: str) -> str:
    """The text in Hydra's quotes: backslashes count only in front of a quote, and there they are doubled."""
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text)
    return f'"{escaped}"'


@cache
def parser() -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def is_understood(argument: str) -> bool:
    """Whether Hydra's grammar takes it as it is."""
    from hydra.errors import HydraException

    try:
        parser().parse_override(argument)
    except HydraException:
        return False
    return True


def value_of(argument: str) -> Any:
    """The value of `key=value`, as Hydra reads it. Raises ConfigError for what it cannot read, and for sweeps."""
    from hydra.errors import HydraException

    try:
        override = parser().parse_override(argument)
    except HydraException as error:
        raise ConfigError(not_understood(argument)) from error
    if override.is_sweep_override():
        raise ConfigError(f"{argument}: several values make a sweep, and only one is possible here.")
    return override.value()


def not_understood(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key != key.strip() or not KEY.fullmatch(key.strip()):
        return f"'{argument}' is not understood: settings are given as key=value, with no blanks around the =."
    return (
        f"{key}: the value {value} is not understood. Text with special characters is put in quotes, and these in "
        f"quotes for the shell: '{key}=\"<text>\"'. Lists are [a, b], mappings {{a: 1}}."
    )


def readable(argument: str, sweeping: bool) -> str:
    """`key=value` with the value quoted where it is free text, or where Hydra could not read it otherwise."""
    key, equals, value = argument.partition("=")
    if not equals or argument.startswith("-"):
        return argument
    name = key.lstrip("+")
    if not KEY.fullmatch(key):
        raise ConfigError(not_understood(argument))
    if not value:
        if name in PATHS:
            raise ConfigError(
                f"{argument} is empty: give a path, or leave {name} out. (Is it a shell's variable that is not set?)"
            )
        return argument
    if name in (*PATHS, *TEXTS) and is_bare(value) and not (sweeping and "," in value) and not is_list(value, name):
        expanded = str(Path(value).expanduser()) if name in PATHS and value.startswith("~") else value
        return f"{key}={quoted(expanded)}"
    if is_group(name) and re.fullmatch(r"[+-]?[\d.]+|true|false", value, re.IGNORECASE):
        return f"{key}={quoted(value)}"  # an option has a name, even if it looks like a number
    if is_understood(argument):
        return argument
    several = value[1:-1] if value.startswith("[") and value.endswith("]") else value if sweeping else None
    if several is not None and is_understood(listed := f"{key}={quoted_parts(several, value.startswith('['))}"):
        return listed
    return f"{key}={quoted(value)}" if is_understood(f"{key}={quoted(value)}") else argument


def is_bare(value: str) -> bool:
    """Whether it is text as it is: neither quoted, nor nothing, nor another setting's value."""
    return value not in ("null", "???") and not value.startswith(("'", '"', "${"))


def is_group(name: str) -> bool:
    return "." not in name and (CONF_DIR / name).is_dir()


def is_list(value: str, name: str) -> bool:
    return name == "data.label_columns" and value.startswith("[")


def quoted_parts(several: str, brackets: bool) -> str:
    """`a b,c` with each part quoted that needs it, in brackets or not."""
    parts = [part.strip() for part in several.split(",")]
    text = ",".join(part if is_understood(f"x={part}") else quoted(part) for part in parts)
    return f"[{text}]" if brackets else text


def prepare(arguments: Sequence[str], config_name: str = "train") -> tuple[list[str], list[str]]:
    """The command line as Hydra takes it, and what it changes in a resumed run.

    With resume=, the other settings come second, since it is the resumed run's settings that they change and not the
    defaults. Raises ConfigError for an empty path, and for what is no setting at all.
    """
    sweeping = is_sweep(arguments)
    settings_typed, options = apart(gather_runs(arguments))
    prepared = [readable(text, sweeping) for text in settings_typed]
    if config_name == "evaluate":  # what changes the run's own data, of which Hydra knows nothing
        prepared = [f"++{text.lstrip('+')}" if re.match(r"\+*data\.\w+=", text) else text for text in prepared]
    given = {text.partition("=")[0].lstrip("+"): text.partition("=")[2] for text in prepared}
    if "output_dir" in given and "hydra.run.dir" not in given and not sweeping:
        prepared.append(f"hydra.run.dir={given['output_dir']}")  # else Hydra makes a second folder
    if sweeping:
        # What varies names the jobs' folders. Said here: a job on another machine does not know this command line.
        fixed = [key for key, value in given.items() if value and not SEVERAL.match(value)]
        settings_of_task = [key for key in fixed if not key.startswith(("hydra.", "hydra/"))]
        prepared.append(f"hydra.job.config.override_dirname.exclude_keys={settings_of_task}")
    resume = given.get("resume", "null").strip('"')
    if resume in ("null", "auto"):
        return prepared + options, []
    require_own_directory(resume, given)
    settings = re.compile(r"~|\+*(?!hydra[./]|resume=|output_dir=|trust=)[a-z_]+[\w./]*=")
    return (
        [text for text in prepared if not settings.match(text)] + options,
        [text for text in prepared if settings.match(text)],
    )


def changes_on_resuming(arguments: Sequence[str]) -> list[str]:
    """What a command line with resume= changes in the settings of the resumed run: `key=value`, and `~key`."""
    return prepare(arguments)[1]


WITH_VALUES = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--info",
    "-i", "--experimental-rerun",
)  # fmt: skip


def apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Settings, and options such as -m with their values: Hydra wants the settings together, people mix them."""
    settings, options = list[str](), list[str]()
    for before, text in zip(["", *arguments], arguments, strict=False):
        is_option = text.startswith("-") or (before in WITH_VALUES and "=" not in text)
        (options if is_option else settings).append(text)
    return settings, options


def require_own_directory(resume: str, given: dict[str, str]) -> None:
    """Raise ConfigError if a run is to go on in another directory than its own."""
    if not Path(resume).exists():
        return  # which is told later
    own = resumed_run_dir(Path(resume)).resolve()
    for key in ("output_dir", "hydra.run.dir"):
        wanted = given.get(key, "").strip("'\"")
        if wanted and Path(wanted).resolve() != own:
            raise ConfigError(
                f"{key}={wanted} cannot be combined with resume={resume}: a resumed run goes on in its own directory. "
                "Copy the directory and resume the copy, if both are to stay."
            )


def resumed_run_dir(resume: Path) -> Path:
    """`<run>` for `<run>`, `<run>/checkpoints` and `<run>/checkpoints/last.ckpt`."""
    folder = resume if resume.is_dir() else resume.parent
    return folder.parent if folder.name == "checkpoints" else folder


def is_sweep(arguments: Sequence[str]) -> bool:
    return "-m" in arguments or "--multirun" in arguments


def gather_runs(arguments: Sequence[str]) -> list[str]:
    """`runs=a b c`, as a shell completes and expands it, as the list that Hydra takes."""
    first = next((n for n, text in enumerate(arguments) if text.startswith("runs=")), None)
    if first is None or arguments[first].startswith("runs=["):
        return list(arguments)
    runs, rest = [arguments[first].removeprefix("runs=")], list[str]()
    for text in arguments[first + 1 :]:
        bare = not text.startswith("-") and ("=" not in text or Path(text).expanduser().exists())
        (runs if bare else rest).append(text)
    listed = ",".join(quoted(str(Path(run).expanduser())) for run in runs if run)
    return [*arguments[:first], f"runs=[{listed}]", *rest]


def check_launch(arguments: Sequence[str]) -> None:
    """Raise ConfigError where processes that something else started could not agree on what to do."""
    given = {text.partition("=")[0] for text in arguments}
    sweeping = is_sweep(arguments)
    named = bool({"hydra.sweep.dir"} & given if sweeping else {"output_dir", "hydra.run.dir"} & given)
    if sweeping and any(text.startswith("output_dir=") for text in arguments):
        raise ConfigError("Each job of a sweep has a directory of its own: give hydra.sweep.dir=<dir>, not output_dir.")
    if sweeping and any(
        text.startswith("resume=") and text not in ("resume=auto", "resume=null") for text in arguments
    ):
        raise ConfigError(
            "resume=<run> goes on with one run, and a sweep has several: hydra.sweep.dir=<dir> resume=auto."
        )
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


def process_rank() -> int:
    """Of this process among all of a run: as torchrun, srun or Lightning, in this order, have numbered it."""
    names = ("RANK", "SLURM_PROCID" if launched_id() else "LOCAL_RANK", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def safe_name(text: str) -> str:
    return re.sub(r"[^\w.=,+-]+", "-", str(text)).strip("-")
