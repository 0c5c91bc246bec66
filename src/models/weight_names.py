"""Whose weights these are: names as other programs write them, and the network that they belong to."""

import collections
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from src.models.catalogue import classifier_names, new_network
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

log = logging.getLogger(__name__)

# Under these names programs keep the weights; of a network and its moving average, the network.
_WRAPPERS = (
    "state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "state_dict_ema",
    "model_ema", "ema_state_dict", "ema",
)  # fmt: skip
_DEEPEST = 4  # wrappers within wrappers


def state_dict_in(content: Any, depth: int = _DEEPEST) -> dict[str, Tensor] | None:
    """The names and tensors in there, without the wrappers around them; None if there are none."""
    if not isinstance(content, Mapping) or not depth:
        return None
    for wrapper in _WRAPPERS:
        if (found := state_dict_in(content.get(wrapper), depth - 1)) is not None:
            return found
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    return tensors if len(tensors) * 2 > len(content) else None


def current_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's DenseNet files say `denselayer1.norm.1.weight` for the network's `denselayer1.norm1.weight`."""
    old = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d\.)")
    return {old.sub(r"\1\2", key): value for key, value in state_dict.items()}


def without_prefix(state_dict: dict[str, Tensor], wanted: Iterable[str], source: str) -> dict[str, Tensor]:
    """The weights by the network's own names, without `module.`, `model._orig_mod.` or whatever stands before them.

    Where all `wanted` names are there behind a prefix, what is not behind it is left out: it belongs to other parts
    of the program. Raises ConfigError if the file has several networks of these names.
    """
    wanted = set(wanted)
    counts = _prefix_counts(state_dict, wanted)
    complete = [prefix for prefix, count in counts.items() if count == len(wanted)]
    if not counts or "" in complete:
        return state_dict
    if len(complete) > 1:
        raise ConfigError(
            f"backbone.weights='{source}' holds several networks of this kind (their names begin with "
            f"{', '.join(complete[:4])}): save the one that you want in a file of its own."
        )
    best = counts.most_common(1)[0][0]
    stripped = {key.removeprefix(best): value for key, value in state_dict.items() if key.startswith(best)}
    others = {key: value for key, value in state_dict.items() if not key.startswith(best)}
    if others and complete:
        log.info("%s: the weights behind '%s' are taken, %s left out", source, best, number_of(len(others), "other"))
        return stripped
    return stripped | others


def _prefix_counts(state_dict: Iterable[str], wanted: set[str]) -> collections.Counter[str]:
    """How many wanted names there are behind each prefix, "" included."""
    counts: collections.Counter[str] = collections.Counter()
    for key in state_dict:
        parts = key.split(".")
        for n in range(len(parts)):
            if ".".join(parts[n:]) in wanted:
                counts[".".join([*parts[:n], ""])] += 1
    return counts


def fitting_network(state_dict: Mapping[str, Tensor], tried: Mapping[str, Tensor]) -> str:
    """The torchvision classifier with most of these names and shapes, "" if none has three quarters of them.

    Also "" if none has more of them than `tried`, the weights of the network that they were meant for.
    """
    best, most = "", max(0.75, _overlap(state_dict, tried))  # AlexNet's head is an eighth of it
    if most > 0.9:
        return ""
    for name in classifier_names():
        try:
            with torch.device("meta"):  # shapes alone
                own = new_network(name, 224).state_dict()
        except NotImplementedError:  # a RegNet reckons with tensors
            continue
        share = _overlap(state_dict, own)
        best, most = (name, share) if share > most else (best, most)
    return best


def _overlap(state_dict: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> float:
    """0..1: how many of the names and shapes of both are common to them, whatever prefix the first has."""
    ((prefix, _),) = _prefix_counts(state_dict, set(own)).most_common(1) or [("", 0)]
    one, other = _shapes(state_dict, prefix), _shapes(own, "")
    return len(one & other) / len(one | other)


def _shapes(state_dict: Mapping[str, Tensor], prefix: str) -> set[tuple[str, torch.Size]]:
    names = {key.removeprefix(prefix): value for key, value in state_dict.items()}
    return {(name, value.shape) for name, value in names.items() if not name.endswith("num_batches_tracked")}
