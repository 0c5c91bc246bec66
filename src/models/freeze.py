"""Which modules of a network train. Frozen modules get no gradients and stay in inference mode: BatchNorm statistics
do not move, dropout does not drop.
"""

import re
from collections.abc import Iterable

from torch import nn

from src.settings.errors import ConfigError, did_you_mean

SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def find_blocks(net: nn.Module, head_name: str) -> list[str]:
    """Dotted names of the network's blocks from input to head: where a person would cut it.

    A container that holds more than a quarter of the layers with parameters, or the head, counts by its children.
    """
    blocks: list[str] = []
    layers = count_layers(net)

    def visit(name: str, module: nn.Module) -> None:
        children = list(module.named_children())
        if name == head_name or not count_layers(module):
            return
        if children and (count_layers(module) > 0.25 * layers or head_name.startswith(f"{name}.")):
            for child_name, child in children:
                visit(f"{name}.{child_name}" if name else child_name, child)
        else:
            blocks.append(name)

    visit("", net)
    return blocks


def count_layers(module: nn.Module) -> int:
    """How many modules inside own parameters themselves."""
    return sum(any(True for _ in part.parameters(recurse=False)) for part in module.modules())


def trained_modules(net: nn.Module, head_name: str, train: str) -> list[str]:
    """Names, in the network's order, of the modules that train in a phase.

    Args:
        train: `head`; `all`; the name of a module, from which on everything trains; or a share such as `50%`, the
            blocks nearest the output.

    Raises:
        ConfigError: with the valid names, if `train` is none of these.
    """
    names = [name for name, _ in net.named_modules()]
    if train == "all":
        return names
    if train == "head":
        start = head_name
    elif share := SHARE.fullmatch(train.strip()):
        blocks = find_blocks(net, head_name)
        trained_blocks = round(len(blocks) * min(float(share[1]), 100) / 100)
        start = blocks[-trained_blocks] if trained_blocks else head_name
    elif train in names and train:
        start = train
    else:
        blocks = find_blocks(net, head_name)
        hint = did_you_mean(train, [*blocks, *names])
        raise ConfigError(
            f"freeze: train='{train}' names no module of this network.{hint} Allowed: head, all, a share such as 50%, "
            f"or a module: {', '.join(blocks)}, or any part of these."
        )
    # A parent registers before its children, so parameters that a parent of `start` owns itself stay frozen.
    return names[names.index(start) :]


def set_trainable(net: nn.Module, trained: Iterable[str]) -> set[str]:
    """Give gradients to the parameters of the named modules and to no others; return the names of the frozen ones."""
    trained = set(trained)
    for name, module in net.named_modules():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(name in trained)
    return {name for name, _ in net.named_modules()} - trained
