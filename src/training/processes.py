"""What the processes of a run tell each other; every process has to call these functions, at the same moments."""

from typing import Any, TypeVar

import torch
from lightning import Trainer

T = TypeVar("T")


def gathered(items: list[T]) -> list[T]:
    """The items of all processes, on every one of them; any plain Python or numpy objects."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return items
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def summed(trainer: Trainer, *numbers: int) -> list[int]:
    """Each number, summed over all processes."""
    if trainer.world_size == 1:
        return list(numbers)
    sums = torch.tensor(numbers, device=trainer.strategy.root_device)
    return [int(value) for value in trainer.strategy.reduce(sums, reduce_op="sum")]
