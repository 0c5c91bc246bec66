"""The whole command line as it is typed, made into what Hydra understands; and what it changes in a resumed run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from src.cli.quoting import quoted, readable
from src.settings.errors import ConfigError
from src.settings.loggers import require_no_secret

SEARCH = "hydra.sweeper."  # where Hydra has what is typed as search.<setting>
SEVERAL = re.compile(r".*,|(?:range|choice|interval|glob|shuffle|sort)\(")  # values of a sweep


def prepare(arguments: Sequence[str], config_name: str = "train") -> tuple[list[str], list[str]]:
    """The command line as Hydra takes it, and what it changes in a resumed run: `key=value`, and `~key`.

    With resume=, the other settings come second, since it is the resumed run's settings that they change and not the
    defaults. Raises ConfigError for an empty path, for a secret, and for what is no setting at all.
    """
    sweeping = is_sweep(arguments)
    settings_typed, options = apart(gather_runs(arguments))
    if config_name == "choose":
        settings_typed = [re.sub(r"^backbones=([^\[{].*,.*)$", r"backbones=[\1]", text) for text in settings_typed]
    for text in settings_typed:
        require_no_secret(text)
    # Settings of a search are Hydra's own, since no trial knows of them.
    prepared = [re.sub(r"^search\.", SEARCH, readable(text, sweeping)) for text in settings_typed]
    if config_name == "evaluate":  # what changes the run's own data, of which Hydra knows nothing
        prepared = [f"++{text.lstrip('+')}" if re.match(r"\+*data\.\w+=", text) else text for text in prepared]
    given = {text.partition("=")[0].lstrip("+"): text.partition("=")[2] for text in prepared}
    if "output_dir" in given and "hydra.run.dir" not in given and not sweeping:
        prepared.append(f"hydra.run.dir={given['output_dir']}")  # else Hydra makes a second folder
    if may_sweep(arguments):
        # What varies names the jobs' folders. Said here: a job on another machine does not know this command line.
        fixed = [key for key, value in given.items() if value and not SEVERAL.match(value)]
        settings_of_task = [key for key in fixed if not key.startswith(("hydra.", "hydra/"))]
        prepared.append(f"hydra.job.config.override_dirname.exclude_keys={settings_of_task}")
    if "--resolve" in options:  # of --cfg job: there is none yet
        prepared.append('hydra.runtime.output_dir="<the run\'s directory>"')
    resume = given.get("resume", "null").strip('"')
    if resume in ("null", "auto"):
        return prepared + options, []
    require_own_directory(resume, given)
    settings = re.compile(r"~|\+*(?!hydra[./]|resume=|output_dir=|trust=)[a-z_]+[\w./]*=")
    return (
        [text for text in prepared if not settings.match(text)] + options,
        [text for text in prepared if settings.match(text)],
    )


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


def require_known_options(arguments: Sequence[str]) -> None:
    """Raise ConfigError for `--lr`, `--lr=1` and the like: settings that are typed as other programs take them.

    And for Hydra's own options, where they are typed in another way than it takes them.
    """
    _, options = apart(arguments)
    parser = get_args_parser()
    parser.error = refuse_option  # type: ignore[method-assign]
    unknown = [text for text in options if re.match(r"-\w[\w.]{2,}=", text)]  # else -ckpt=x is read as -c kpt=x
    if not unknown:
        known, others = parser.parse_known_args([*options])
        unknown = [text for text in (*others, *known.overrides) if text.startswith("-")]
    if unknown:
        key, _, value = unknown[0].lstrip("-").partition("=")
        raise ConfigError(
            f"{unknown[0]} is no option: settings are given without dashes, {key or '<key>'}={value or '<value>'}. "
            "--help lists them."
        )
    if known.multirun and known.cfg:
        raise ConfigError("--cfg shows the settings of one run: leave -m and values with commas out.")
    if known.resolve and known.cfg != "job":
        raise ConfigError("--resolve is for --cfg job: where a run will be is not known before.")


def refuse_option(message: str) -> NoReturn:
    """Instead of argparse's usage, which is of Hydra's options alone."""
    raise ConfigError(f"{message}. Options stand apart, each with its value behind it: --cfg job. --help says more.")


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
    """Whether the command line itself asks for several runs."""
    return any(text in ("-m", "--multirun") or text.lstrip("+").startswith("sweep=") for text in arguments)


def may_sweep(arguments: Sequence[str]) -> bool:
    """Whether it does, or names a yaml that may. Where runs go, which `output_dir` says to Hydra, brings none."""
    asking, places = ("sweep=", "experiment=", "hydra", "-m", "--multirun"), ("hydra.run.dir=", "hydra.sweep.dir=")
    typed = [text.lstrip("+") for text in arguments]
    return any(text.startswith(asking) and not text.startswith(places) for text in typed)


def gather_runs(arguments: Sequence[str]) -> list[str]:
    """`runs=a b c`, as a shell completes and expands it, as the list that Hydra takes."""
    first = next((n for n, text in enumerate(arguments) if text.startswith("runs=")), None)
    if first is None or arguments[first].startswith("runs=["):
        return list(arguments)
    runs, rest = [arguments[first].removeprefix("runs=")], list[str]()
    for text in arguments[first + 1 :]:
        folders = (text, text.rpartition(":")[0])  # a directory, or SWEEP:key=value
        there = any(Path(folder).expanduser().exists() for folder in folders if folder)
        bare = not text.startswith("-") and ("=" not in text or there)
        (runs if bare else rest).append(text)
    listed = ",".join(quoted(str(Path(run).expanduser())) for run in runs if run)
    return [*arguments[:first], f"runs=[{listed}]", *rest]
