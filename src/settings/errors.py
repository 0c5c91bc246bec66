"""Mistakes of the user, the nearest right spelling, and runs that end before their time."""

import difflib
from collections.abc import Iterable, Iterator


class ConfigError(ValueError):
    """A mistake that the user can fix: shown as its text alone, with no traceback."""


class RunStopped(Exception):
    """A run ended before its time, for a reason outside the program: shown as its text alone, with this exit status.

    143 (128 + 15, as shells report a process that SIGTERM ended) means: saved, and resumable.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


TERMINATED = 143
SIMILAR, VERY_SIMILAR = 0.55, 0.7  # difflib's ratio; the first for words with more letters than SHORT
SHORT = 4


def did_you_mean(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """` Did you mean '<prefix><choice>'?`, with a leading blank; an empty string if nothing is near.

    Capital letters are no difference.
    """
    typed, lower = word.casefold(), {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(typed, lower, n=max(len(lower), 1), cutoff=SIMILAR)
    found = next((choice for choice in near if len(typed) > SHORT or is_slip(typed, choice)), None)
    return "" if found is None else f" Did you mean '{prefix}{lower[found]}'?"


def is_slip(short: str, choice: str) -> bool:
    """Of a short word, which is like many others by chance: letters in another order, or the beginning, or very near.

    By SIMILAR alone, `data` would be `tta`, and `task` would be `masks`.
    """
    if choice.startswith(short) or sorted(choice) == sorted(short):
        return True
    return difflib.SequenceMatcher(None, choice, short).ratio() >= VERY_SIMILAR


def first_line(error: BaseException) -> str:
    """Of what it says; its kind if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised for or in whose handling."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        if (found := waiting.pop()) is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__cause__, found.__context__]


def was_interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is what it is about: torch and Lightning raise other things for it."""
    return any(isinstance(cause, KeyboardInterrupt) for cause in causes(error))
