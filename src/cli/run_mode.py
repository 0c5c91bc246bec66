"""One run or a sweep: Hydra 1.3 composes all settings twice, the first time only to see whether a yaml asks for it."""

import sys
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.types import RunMode

composed_mode = Hydra.get_mode  # a private door of Hydra


def compose_once() -> None:
    """Where nothing that was typed could bring a sweep, it is one run, and the settings are composed once."""
    Hydra.get_mode = mode_of  # type: ignore[method-assign, assignment]


def mode_of(hydra_: Hydra, config_name: str | None, overrides: list[str]) -> Any:
    may_sweep = ("sweep=", "experiment=", "hydra", "-m", "--multirun")
    if any(text.lstrip("+").startswith(may_sweep) for text in (*sys.argv[1:], *overrides)):
        return composed_mode(hydra_, config_name, overrides)
    return RunMode.RUN
