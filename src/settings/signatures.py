"""What a `_target_` in the settings names: whether it is there, and whether it takes the arguments beside it."""

import inspect
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.settings.errors import ConfigError, did_you_mean
from src.settings.kinds import bases_of, kind_of


def check_targets(cfg: DictConfig) -> None:
    """Raise ConfigError for every `_target_` that cannot be imported, and every argument that it does not know."""
    from hydra.utils import get_object

    problems: list[str] = []
    for path, node in target_nodes(cfg):
        try:
            target = get_object(node["_target_"])
        except Exception as error:
            problems.append(f"{path}._target_='{node['_target_']}' cannot be imported: {error}")
            continue
        problems += wrong_kind(path, node, target) or unknown_arguments(path, node, target)
    if problems:
        raise ConfigError("\n".join(problems))


def wrong_kind(path: str, node: dict[str, Any], target: Any) -> list[str]:
    """What a class is not that belongs there; what a function returns is seen when it is called."""
    kind = kind_of(path)
    if kind is None or not kind.base or not isinstance(target, type) or issubclass(target, bases_of(kind)):
        return []
    return [f"{path}._target_='{node['_target_']}' is no {kind.what}: it does not derive from {kind.base}."]


def target_nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted key, plain mapping) of every mapping in the settings that has a `_target_`."""
    if OmegaConf.is_config(node):
        node = OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
    items = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else ()
    if isinstance(node, dict) and "_target_" in node:
        yield path, node
    for key, child in items:
        yield from target_nodes(child, f"{path}.{key}" if path else str(key))


def known_arguments(target: Any) -> list[str] | None:
    """Names of the arguments; None if it takes any. A class that passes **settings on takes those of its base too."""
    names: list[str] = []
    for function in (
        [vars(c)["__init__"] for c in target.__mro__ if "__init__" in vars(c)] if inspect.isclass(target) else [target]
    ):
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        names += [p.name for p in parameters if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return None


# Keys beside a `_target_` that are not its arguments but read by us, by config node.
OWN_KEYS = {
    "head": {"start"},
    "scheduler": {"interval"},
    "loss": {"class_weights", "targets"},
}


def unknown_arguments(path: str, node: dict[str, Any], target: Any) -> list[str]:
    known = known_arguments(target)
    if known is None:
        return []
    ours = OWN_KEYS.get(path, set()) | {"_target_", "_partial_", "_args_", "_convert_", "_recursive_"}
    problems = []
    for key in node:
        if key not in known and key not in ours:
            hint = did_you_mean(str(key), known, f"{path}.")
            problems.append(f"{path}.{key} is no argument of {node['_target_']}.{hint} It takes: {', '.join(known)}.")
    return problems


def no_download(data: DictConfig) -> dict[str, bool]:
    """What keeps data that a checkpoint names from being fetched; empty if they cannot be."""
    from hydra.utils import get_object

    return {"download": False} if "download" in inspect.signature(get_object(data._target_)).parameters else {}
