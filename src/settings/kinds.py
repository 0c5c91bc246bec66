"""Which kind of thing is named where in the settings: an optimizer at `optimizer`, a callback below `callbacks`."""

import re
from typing import Any, NamedTuple

from hydra.utils import get_class, get_object

from src.settings.errors import ConfigError
from src.settings.options import targets_of


class Kind(NamedTuple):
    """What may stand at a place of the settings.

    Functions, such as heads and our schedules, have no class that tells what they are: those count that an option of
    the group names. So do classes outside `modules`, and both may lie wherever conf/ says that they do.
    """

    what: str
    group: str  # whose options name what is ours; empty = modules and base say all
    modules: tuple[str, ...]  # in which its classes are defined, by how their names begin
    bases: tuple[str, ...]  # dotted names of the classes that it derives from one of; none = a function


KINDS = {
    r"head": Kind("head", "head", (), ()),
    r"loss": Kind("loss", "loss", ("torch.nn.modules.loss",), ("torch.nn.Module",)),
    r"data": Kind("data module", "", ("src.data.",), ("src.data.module.ImageDataModule",)),
    r"(freeze\.phases\.\d+\.)?optimizer": Kind("optimizer", "", ("torch.optim",), ("torch.optim.Optimizer",)),
    r"(freeze\.phases\.\d+\.)?scheduler": Kind(
        "scheduler", "scheduler", ("torch.optim.lr_scheduler",),
        ("torch.optim.lr_scheduler.LRScheduler", "torch.optim.lr_scheduler.ReduceLROnPlateau"),
    ),
    r"callbacks\.\w+": Kind("callback", "", ("lightning.pytorch.callbacks", "src."), ("lightning.Callback",)),
    r"logger\.\w+": Kind(
        "logger", "", ("lightning.pytorch.loggers", "src.training.loggers."), ("lightning.pytorch.loggers.Logger",)),
    r"trainer": Kind("trainer", "", ("lightning.pytorch.trainer",), ("lightning.Trainer",)),
    r"trainer\.profiler": Kind(
        "profiler", "", ("lightning.pytorch.profilers",), ("lightning.pytorch.profilers.Profiler",)
    ),
    r"trainer\.strategy": Kind(
        "strategy", "", ("lightning.pytorch.strategies", "src."), ("lightning.pytorch.strategies.Strategy",)
    ),
}  # fmt: skip


def kind_of(path: str) -> Kind | None:
    """What belongs at a dotted key of the settings; None where nothing is named."""
    return next((kind for place, kind in KINDS.items() if re.fullmatch(place, path)), None)


def is_of_kind(found: Any, kind: Kind) -> bool:
    """Whether a class or function of that kind is ours, torch's or Lightning's."""
    module, name = getattr(found, "__module__", None) or "", getattr(found, "__qualname__", "")
    if kind.group and f"{module}.{name}" in targets_of(kind.group):
        return True
    return module.startswith(kind.modules) and isinstance(found, type) and issubclass(found, classes(kind.bases))


def classes(names: tuple[str, ...]) -> tuple[type, ...]:
    return tuple(map(get_class, names))


def names_a(node: Any, base: str) -> bool:
    """Whether what a node names, which is imported, is a class that derives from another."""
    target = node.get("_target_") if isinstance(node, dict) else None
    found = get_object(target) if isinstance(target, str) else None
    return isinstance(found, type) and issubclass(found, classes((base,)))


def require_kind(found: Any, path: str, target: Any) -> None:
    """Raise ConfigError unless what was built at a place of the settings is what belongs there."""
    if (kind := kind_of(path)) is not None and not isinstance(found, classes(kind.bases)):
        raise ConfigError(
            f"{path}._target_='{target}' makes a {type(found).__name__}, and a {kind.what} ({kind.bases[0]}) belongs "
            "there."
        )
