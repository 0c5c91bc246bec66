"""The file in which a search keeps its trials: JSON lines, one per event, which Optuna reads again to go on.

No code can hide in it: Optuna takes known events and its own kinds of values from it, and nothing else.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.files.plain_files import MOST_JSON, check_size, unreadable

if TYPE_CHECKING:
    import optuna

NAME = "search"  # of the study, by which Hyperband spreads trials over its brackets


def opened(file: Path | None, mode: str) -> "optuna.Study":
    """Without a pruner, so that the sampler learns from all trials, and not only from those of Hyperband's bracket.

    Raises ConfigError, which names the file, if it is no journal of a search.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    if file is not None and file.exists():
        complete(file)
    try:
        # The lock is ours, on the whole folder: Optuna's stays behind when a process is killed.
        lock: Any = NoLock()
        return optuna.create_study(
            storage=None if file is None else JournalStorage(JournalFileBackend(str(file), lock_obj=lock)),
            study_name=NAME,
            direction="maximize" if mode == "max" else "minimize",
            load_if_exists=True,
            pruner=optuna.pruners.NopPruner(),
        )
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise unreadable(file or Path(), f"it is no journal of a search ({error})") from error


def complete(file: Path) -> None:
    """Take away a last line that was not written to its end, to which Optuna would append. Raises ConfigError."""
    check_size(file, MOST_JSON)
    content = file.read_bytes()
    whole, newline, rest = content.rpartition(b"\n")
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        try:
            if not isinstance(json.loads(line), dict):
                raise ValueError
        except (ValueError, RecursionError):
            raise unreadable(file, f"line {number} is no JSON object") from None
    if rest:
        file.write_bytes(whole + newline)


class NoLock:
    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass
