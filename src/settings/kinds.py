"""Which kind of thing is named where in the settings: an optimizer at `optimizer`, a callback below `callbacks`."""

import re
from typing import Any, NamedTuple

from src.settings.errors import ConfigError


class Kind(NamedTuple):
    """What may stand at a place of the settings."""

    what: str
    modules: tuple[str, ...]  # in which it is defined, by how their names begin
    base: str  # dotted name of the class that it derives from; empty = a function


KINDS = {
    r"head": Kind("head", ("src.models.heads",), ""),
    r"loss": Kind("loss", ("torch.nn.modules.loss", "src.training.losses"), "torch.nn.Module"),
    r"data": Kind("data module", ("src.data.",), "src.data.module.ImageDataModule"),
    r"(freeze\.phases\.\d+\.)?optimizer": Kind("optimizer", ("torch.optim",), "torch.optim.Optimizer"),
    r"(freeze\.phases\.\d+\.)?scheduler": Kind(
        "scheduler", ("torch.optim.lr_scheduler", "src.training.schedules"), "torch.optim.lr_scheduler.LRScheduler"
    ),
    r"callbacks\.\w+": Kind("callback", ("lightning.pytorch.callbacks", "src."), "lightning.Callback"),
    r"logger\.\w+": Kind("logger", ("lightning.pytorch.loggers",), "lightning.pytorch.loggers.Logger"),
    r"trainer": Kind("trainer", ("lightning.pytorch.trainer",), "lightning.Trainer"),
    r"trainer\.profiler": Kind(
        "profiler", ("lightning.pytorch.profilers",), "lightning.pytorch.profilers.Profiler"
    ),
    r"trainer\.strategy": Kind(
        "strategy", ("lightning.pytorch.strategies", "src."), "lightning.pytorch.strategies.Strategy"
    ),
}  # fmt: skip


def kind_of(path: str) -> Kind | None:
    """What belongs at a dotted key of the settings; None where nothing is named."""
    return next((kind for place, kind in KINDS.items() if re.fullmatch(place, path)), None)


def bases_of(kind: Kind) -> tuple[type, ...]:
    from hydra.utils import get_class

    found: list[type] = [get_class(kind.base)]
    if kind.what == "scheduler":
        found.append(get_class("torch.optim.lr_scheduler.ReduceLROnPlateau"))
    return tuple(found)


def require_kind(found: Any, path: str, target: Any) -> None:
    """Raise ConfigError unless what was built at a place of the settings is what belongs there."""
    kind = kind_of(path)
    assert kind is not None
    if not isinstance(found, bases_of(kind)):
        raise ConfigError(
            f"{path}._target_='{target}' makes a {type(found).__name__}, and a {kind.what} ({kind.base}) belongs there."
        )
