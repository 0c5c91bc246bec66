"""Mistakes of the user, and the nearest right spelling."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A mistake that the user can mend: shown as its text alone, with no traceback."""


def did_you_mean(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """` Did you mean '<prefix><choice>'?`, with a leading blank; an empty string if nothing is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{prefix}{near[0]}'?" if near else ""
