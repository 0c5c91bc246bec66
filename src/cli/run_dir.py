"""The directory of a run: its name is its own from the moment it is made, and one run at a time has it."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omegaconf import OmegaConf

from src.cli.command_line import resumed_run_dir
from src.cli.launch import launched_id, process_rank, safe_name
from src.files.printable import shell_word
from src.settings.errors import ConfigError

MAX_NAME = 200  # bytes: file systems take 255, and files of the run have names too


def register_resolvers() -> None:
    OmegaConf.register_new_resolver("run_dir", run_dir, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_dir", job_dir, replace=True)


def run_dir(resume: str | None, name: str) -> str:
    """A new `logs/runs/<date_time>_<name>`, which is made, or the directory of the run that is resumed."""
    if resume is not None and Path(resume).exists():
        return str(resumed_run_dir(Path(resume)))
    named = safe_name(name).encode()[:MAX_NAME].decode(errors="ignore")
    if launch := launched_id():
        return f"logs/runs/{launch}_{named}"
    return str(new_dir(Path(f"logs/runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}_{named}")))


def new_dir(wanted: Path) -> Path:
    """`wanted`, or `wanted_2` and so on: whoever makes a directory first has it. Raises ConfigError if none can be."""
    for number in range(1, 10_000):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
        try:
            with suppress(FileExistsError):
                path.mkdir(parents=True)
                return path
        except OSError as error:
            raise ConfigError(f"The directory '{path}' cannot be made: {error.strerror}.") from error
    raise ConfigError(f"'{wanted}' and 9,999 like it exist already.")


def job_dir(number: int, overrides: str) -> str:
    """`<number>_<key=value,...>` of a sweep's job, with what `prepare` left in Hydra's override_dirname."""
    return f"{number}_{safe_name(overrides)}"[:100].rstrip("_.")


def require_no_run(output_dir: Path) -> None:
    """Raise ConfigError if the directory holds a run already, which this one would overwrite."""
    if any((output_dir / name).exists() for name in ("metrics.json", "checkpoints/last.ckpt")):
        raise ConfigError(
            f"output_dir='{output_dir}' holds a run already: resume={output_dir} goes on with it (resume=auto too, and "
            "starts a new one where there is none); or give another directory."
        )


@contextmanager
def held(folder: Path, trust: bool = False) -> Iterator[None]:
    """The directory of a run, made if need be, for this run alone as long as the block lasts, however it ends.

    The other processes of the run, which the first one starts, need no lock of their own. Raises ConfigError if the
    directory cannot be made, if another run has it, which is named, or, without `trust`, if a link leads out of it: the
    run would write there.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file is in its way" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise ConfigError(f"output_dir='{folder}' cannot be made: {reason}. Name another directory.") from error
    if not trust and (link := link_out_of(folder)) is not None:
        raise ConfigError(
            f"output_dir='{folder}': {link} is a link that leads out of it, and what the run writes would land there. "
            "If you made that link, trust=true allows it."
        )
    if process_rank() != 0:
        yield
        return
    lock, owner = FileLock(folder / ".lock"), folder / ".owner.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"output_dir='{folder}' is in use by another run{owner_text(owner)}: give another directory, or wait until "
            "it has ended."
        ) from None
    except NotImplementedError:  # a network disk without locks
        yield
        return
    except OSError as error:
        raise ConfigError(f"output_dir='{folder}' cannot be written to: {error.strerror}.") from error
    try:
        facts = {"host": socket.gethostname(), "process": os.getpid(), "command": " ".join(sys.argv)}
        owner.write_text(json.dumps({**facts, "since": time.strftime("%Y-%m-%d %H:%M:%S")}) + "\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            owner.unlink()
        lock.release()  # its file stays: another run may be looking at it just now


def link_out_of(folder: Path) -> Path | None:
    """A link where a run writes, if one leads out of its directory: a file in it, or one of its folders or in these."""
    folders = ("checkpoints", "checkpoints/soup", "report", "tensorboard", "csv", "wandb", "comet")
    written = [path for path in folder.iterdir() if path.name in folders or not path.is_dir()]
    written += [path for name in folders for path in (folder / name).glob("*")]
    return next((p for p in written if p.is_symlink() and not p.resolve().is_relative_to(folder.resolve())), None)


def owner_text(owner: Path) -> str:
    """` (process 123 on host, since ..., command)`, as far as the run has said."""
    try:
        facts = json.loads(owner.read_text(encoding="utf-8"))
        return f" (process {facts['process']} on {facts['host']}, since {facts['since']}: {facts['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def interrupted_message(run_dir: Path) -> str:
    if not (run_dir / "checkpoints" / "last.ckpt").is_file():
        return "Interrupted before the first epoch ended: nothing to go on with, start again."
    return f"Interrupted. Go on with: {resume_command(run_dir)}"


def resume_command(run_dir: Path) -> str:
    """To be typed as it is."""
    return f"python -m src.train resume={shell_word(str(run_dir))}"


def remove_if_unused(folder: Path) -> None:
    if folder.resolve() != Path.cwd() and folder.is_dir() and {file.name for file in folder.iterdir()} <= {".lock"}:
        (folder / ".lock").unlink(missing_ok=True)
        folder.rmdir()
