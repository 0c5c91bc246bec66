"""Which modules train. Frozen ones get no gradients and stay in inference mode: no dropout, BatchNorm does not move."""

import re
from collections.abc import Iterable

from torch.nn.modules.batchnorm import _BatchNorm

from src.models.adapted import AdaptedNetwork
from src.settings.errors import ConfigError, did_you_mean


def trained_modules(model: AdaptedNetwork, train: str, batch_norm: bool = True) -> list[str]:
    """Names inside `model.net`, in its order, of the modules that train in a phase.

    `train` is `head`; `all`; the name of a module, from which on everything trains; or a share such as `50%`, the
    blocks nearest the output, and the head. Without `batch_norm` no BatchNorm in front of the head trains. Raises
    ConfigError, with the valid names, if `train` is none of these.
    """
    if not batch_norm:
        norms = norms_in_front(model)
        return [name for name in trained_modules(model, train) if name not in norms]
    names = [name for name, _ in model.net.named_modules()]
    if train == "all":
        return names
    if train == "head":
        return [name for name in names if model.in_head(name)]
    if share := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", train.strip()):
        stages = model.stages
        earlier, trained = _divided(stages, round(len(stages) * min(float(share[1]), 100) / 100))
        later = names[min(names.index(block) for block in trained) :] if trained else []
        later = [name for name in later if not f"{name}.".startswith(earlier)]
        return [name for name in names if name in later or model.in_head(name)]
    if train and train in names:
        # A parent registers before its children, so parameters that a parent of this module owns itself stay frozen.
        return names[names.index(train) :]
    hint = did_you_mean(train, [*model.blocks, *names])
    raise ConfigError(
        f"freeze: train='{train}' names no module of this network.{hint} Allowed: head, all, a share such as 50%, "
        f"or a module: {', '.join(model.blocks)}, or any part of these."
    )


def norms_in_front(model: AdaptedNetwork) -> set[str]:
    """Every BatchNorm in front of the head, by its name inside `model.net`."""
    norms = (name for name, module in model.net.named_modules() if isinstance(module, _BatchNorm))
    return {name for name in norms if not model.in_head(name)}


def _divided(stages: list[list[str]], trained: int) -> tuple[tuple[str, ...], list[str]]:
    """How names begin in the stages that stay frozen; and the blocks of the last `trained` ones."""
    cut = len(stages) - trained
    frozen = tuple(f"{block}." for stage in stages[:cut] for block in stage)
    return frozen, [block for stage in stages[cut:] for block in stage]


def set_trainable(model: AdaptedNetwork, trained: Iterable[str]) -> set[str]:
    """Give gradients to the parameters of the named modules and to no others; return the names of the frozen ones."""
    trained = set(trained)
    for name, module in model.net.named_modules():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(name in trained)
    return {name for name, _ in model.net.named_modules()} - trained
