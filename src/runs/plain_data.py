"""What a checkpoint may consist of, before anybody looks at it: plain data and tensors, within bounds.

torch's safe loader returns more than that: tuples, sets, complex numbers, dtypes, cycles. What looks into mappings and
lists for something that must not be there would miss it in a tuple, which others take for a list.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from src.settings.errors import ConfigError

DEEPEST = 40
MOST_NODES = 5_000_000  # values in all: a thousand classes' names are a thousand
LONGEST_INT = 2**63


def plain(value: Any, file: Path) -> Any:
    """The same with tuples as lists and ordered mappings as plain ones; tensors stay.

    Raises ConfigError for everything else: keys that are no text, objects, cycles, too many or too deeply nested ones.
    """
    left = [MOST_NODES]

    def copied(inner: Any, depth: int) -> Any:
        left[0] -= 1
        if depth > DEEPEST or left[0] < 0:
            raise refused(file, "it is nested too deeply, or has too many values")
        if inner is None or type(inner) in (bool, float, str):
            return inner
        if type(inner) is int:
            if not -LONGEST_INT <= inner < LONGEST_INT:
                raise refused(file, "it has a whole number that is far too large")
            return inner
        if type(inner) in (list, tuple):
            return [copied(one, depth + 1) for one in inner]
        if type(inner) in (dict, OrderedDict):
            if not all(type(key) is str for key in inner):
                raise refused(file, "a mapping in it has keys that are no text")
            return {key: copied(one, depth + 1) for key, one in inner.items()}
        if isinstance(inner, torch.Tensor) and is_plain_tensor(inner):
            return inner
        raise refused(file, f"it holds a {type(inner).__name__}")

    return copied(value, 0)


def is_plain_tensor(value: torch.Tensor) -> bool:
    """Dense numbers in this process's memory."""
    dense = value.layout == torch.strided and not value.is_quantized and not value.is_nested
    return bool(dense and value.device.type == "cpu" and type(value) in (torch.Tensor, torch.nn.Parameter))


def refused(file: Path, why: str) -> ConfigError:
    return ConfigError(f"'{file}' cannot be used: {why}, and checkpoints of this project hold plain data and tensors.")
