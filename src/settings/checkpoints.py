"""Which files `ckpt` names: a run's best checkpoint, several, or those of a sweep's jobs. No torch."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from src.settings.errors import ConfigError

JOB_FILE = "job.json"  # in the folder of each of a sweep's jobs: what it was


def find_checkpoint(path: str, name: str) -> Path:
    """The file meant by `<run dir>`, `<run dir>/checkpoints` or a file; `name` is best or last.

    Raises ConfigError if there is none.
    """
    given = Path(path).expanduser()
    candidates = [given, given / f"{name}.ckpt", given / "checkpoints" / f"{name}.ckpt"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    other = "" if given.exists() else f" '{path}' does not exist."
    raise ConfigError(
        f"No checkpoint at '{path}': expected a .ckpt file, or a run directory with checkpoints/{name}.ckpt.{other}"
    )


def require_archive(file: Path) -> None:
    """Raise ConfigError unless the file ends as those do that torch writes, which are zip archives."""
    if not zipfile.is_zipfile(file):
        raise unreadable(file, "File is not a zip file")


def unreadable(file: Path, why: str) -> ConfigError:
    return ConfigError(f"'{file}' cannot be read as a checkpoint: it is not whole, or no checkpoint at all ({why}).")


def find_checkpoints(ckpt: str | Sequence[str]) -> list[Path]:
    """The files meant by a run, several, and folders of sweeps, whose finished jobs are meant.

    Raises ConfigError if one of them is nothing of the kind, if a file is meant twice, or if there are none.
    """
    given = [ckpt] if isinstance(ckpt, str) else list(ckpt)
    if not given or not all(isinstance(one, str) and one for one in given):
        raise ConfigError(f"ckpt={ckpt} is no list of runs: ckpt=[<run dir or .ckpt>,<another>].")
    files = [file for one in given for file in meant_by(one)]
    real = [file.resolve() for file in files]
    if twice := next((file for file, path in zip(files, real, strict=True) if real.count(path) > 1), None):
        raise ConfigError(f"ckpt: '{twice}' is named twice, and would count twice: leave one of them out.")
    return files


def meant_by(path: str) -> list[Path]:
    folder = Path(path).expanduser()
    jobs = sorted(jobs_of(folder))
    if not jobs:
        return [find_checkpoint(path, "best")]
    lost = [job.name for _, job, ended in jobs if not (ended and best_of(job).is_file())]
    if lost:
        raise ConfigError(
            f"ckpt='{path}' is the folder of a sweep, and {len(lost)} of its {len(jobs)} jobs have not ended with a "
            f"checkpoint: {', '.join(lost)}. Name those that are meant: ckpt=[<run dir>,<another>]."
        )
    return [best_of(job) for _, job, _ in jobs]


def best_of(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / "best.ckpt"


def jobs_of(folder: Path) -> Iterator[tuple[int, Path, bool]]:
    """Number, folder, and whether it came to its end, of each job if this is the folder of a sweep."""
    for file in folder.glob(f"*/{JOB_FILE}") if folder.is_dir() else ():
        try:
            facts: Any = json.loads(file.read_text(encoding="utf-8"))
            number, ended = int(facts["number"]), bool(facts["ended"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"'{file}' does not say what job of a sweep it belongs to: it is damaged.") from error
        yield number, file.parent, ended and not (file.parent / "error.txt").exists()
