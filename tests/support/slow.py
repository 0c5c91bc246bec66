"""Loops of which the default run takes some representatives, and `pytest -m slow` the rest."""

from collections.abc import Iterable
from typing import Any

import pytest


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def mostly_slow(values: Iterable[Any], *kept: Any) -> list[Any]:
    """Those `kept` stay in the default run, each of them one of the values."""
    cases = [*values]
    assert all(one in cases for one in kept), kept
    return [case if case in kept else slow_case(case) for case in cases]


def one_in(number: int, values: Iterable[Any]) -> list[Any]:
    """Of cases of one kind, such as mistakes in settings: the first and every third, say, stay in the default run."""
    return [slow_case(case) if place % number else case for place, case in enumerate(values)]


def slow_case(case: Any) -> Any:
    return slow(*(case if isinstance(case, tuple) else (case,)))
