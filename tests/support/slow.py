"""Loops of which the default run takes some representatives, and `pytest -m slow` the rest."""

from collections.abc import Iterable
from typing import Any

import pytest


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def mostly_slow(values: Iterable[Any], *kept: Any) -> list[Any]:
    """Those `kept` stay in the default run; each is one of the values, or one's place among them."""
    cases = [*values]
    chosen = [cases.index(one) if one in cases else one for one in kept]
    assert all(isinstance(place, int) and place < len(cases) for place in chosen), kept
    return [
        case if place in chosen else slow(*(case if isinstance(case, tuple) else (case,)))
        for place, case in enumerate(cases)
    ]
