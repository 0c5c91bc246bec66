"""What a `_target_` in the settings names: whether it is there, and whether it takes the arguments beside it.

The names have to be imported for it, and so does torch; what can be seen without is in src/settings/check.py.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from hydra.utils import get_object

from src.settings.errors import ConfigError, did_you_mean
from src.settings.kinds import classes, kind_of, names_a
from src.settings.rules import Choice, Range, ReadByUs, node_type, parts_of, wrong_value
from src.settings.schema import TrainConfig


def check_targets(plain: dict[str, Any]) -> None:
    """Raise ConfigError for every `_target_` that cannot be imported, and every argument that it does not take."""
    problems: list[str] = []
    for path, node in target_nodes(plain):
        try:
            target = get_object(node["_target_"])
        except Exception as error:
            problems.append(f"{path}._target_='{node['_target_']}' cannot be imported: {error}")
            continue
        problems += wrong_kind(path, node, target) or wrong_arguments(path, node, target)
    if problems := problems or list(watching_no_val(plain)):
        raise ConfigError("\n".join(problems))


def wrong_kind(path: str, node: dict[str, Any], target: Any) -> list[str]:
    """What a class is not that belongs there; what a function returns is seen when it is called."""
    kind = kind_of(path)
    if kind is None or not kind.bases or not isinstance(target, type) or issubclass(target, classes(kind.bases)):
        return []
    return [f"{path}._target_='{node['_target_']}' is no {kind.what}: it does not derive from {kind.bases[0]}."]


def target_nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted key, node) of every mapping in plain settings that has a `_target_`."""
    items = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else ()
    if isinstance(node, dict) and "_target_" in node:
        yield path, node
    for key, child in items:
        yield from target_nodes(child, f"{path}.{key}" if path else str(key))


def arguments_of(target: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """The arguments by name, and whether it takes any other as well.

    A class that passes **settings on takes those of its base too.
    """
    known: dict[str, inspect.Parameter] = {}
    for function in (
        [vars(c)["__init__"] for c in target.__mro__ if "__init__" in vars(c)] if inspect.isclass(target) else [target]
    ):
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return known, True
        named = [p for p in parameters if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        known = {p.name: p for p in named} | known
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return known, False
    return known, True


def own_keys(group: str) -> set[str]:
    """Keys beside a group's `_target_` that are read by us, and no arguments of what it names."""
    node = node_type(get_type_hints(TrainConfig, include_extras=True).get(group, Any))
    hints = get_type_hints(node, include_extras=True).items() if node is not None else ()
    return {name for name, hint in hints if ReadByUs in parts_of(hint)[1]}


def wrong_arguments(path: str, node: dict[str, Any], target: Any) -> list[str]:
    """Arguments that are not taken, and values outside of what the signature says: `Annotated[int, at_least(1)]`."""
    known, takes_others = arguments_of(target)
    ours = own_keys(path) | {"_target_", "_partial_", "_args_", "_convert_", "_recursive_"}
    problems: list[str] = []
    for key, value in node.items():
        if key in known and any(isinstance(said, Range | Choice) for said in parts_of(known[key].annotation)[1]):
            problems += wrong_value(known[key].annotation, value, f"{path}.{key}")
        elif key not in known and key not in ours and not takes_others:
            hint = did_you_mean(str(key), known, f"{path}.")
            problems.append(f"{path}.{key} is no argument of {node['_target_']}.{hint} It takes: {', '.join(known)}.")
    return problems


def watching_no_val(settings: Any) -> Iterator[str]:
    """What looks at a metric of val in every epoch, where val is not measured in every epoch."""
    monitor = (settings.get("task") or {}).get("monitor")
    if (settings.get("trainer") or {}).get("limit_val_batches") != 0 or not str(monitor).startswith("val/"):
        return
    watching = [
        f"callbacks.{name}"
        for name, node in settings["callbacks"].items()
        if names_a(node, "lightning.pytorch.callbacks.EarlyStopping")
    ]
    if names_a(settings["scheduler"], "torch.optim.lr_scheduler.ReduceLROnPlateau"):
        watching.append("scheduler=plateau")
    for name in watching:
        yield (
            f"{name} watches task.monitor={monitor}, and trainer.limit_val_batches=0 measures no val: leave one of the "
            "two out."
        )


def no_download(data: Mapping[str, Any]) -> dict[str, bool]:
    """What keeps data that a checkpoint names from being fetched; empty if they cannot be."""
    return {"download": False} if "download" in inspect.signature(get_object(data["_target_"])).parameters else {}
