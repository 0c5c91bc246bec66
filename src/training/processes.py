"""What the processes of a run tell each other, and agree on; every process has to call these, at the same moments."""

import atexit
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from lightning import Trainer

from src.settings.check import leaves
from src.settings.errors import RunStopped

T = TypeVar("T")


def leave_others_at_exit() -> None:
    """Without it a process that ends while a thread of gloo still works is aborted (SIGABRT) after all is done.

    Lightning does so for NCCL alone.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        atexit.unregister(leave_others)  # each phase is set up, and once is enough
        atexit.register(leave_others)


def leave_others() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def gathered(items: list[T]) -> list[T]:
    """The items of all processes, on every one of them; any plain Python or numpy objects."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return items
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def gathered_arrays(batches: list[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """The batches of all processes, one behind the other, by name; empty if there are none.

    A second axis that is shorter in some batches is filled up with zeros: lists of what an image shows.
    """
    everyones = gathered(batches)
    return {name: joined([batch[name] for batch in everyones]) for name in (everyones or [{}])[0]}


def joined(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if arrays[0].ndim < 2 or len({array.shape[1] for array in arrays}) == 1:
        return np.concatenate(arrays)
    longest = max(array.shape[1] for array in arrays)
    together = np.zeros((sum(map(len, arrays)), longest, *arrays[0].shape[2:]), arrays[0].dtype)
    first = 0
    for array in arrays:
        together[first : first + len(array), : array.shape[1]] = array
        first += len(array)
    return together


def summed(trainer: Trainer, *numbers: int) -> list[int]:
    """Each number, summed over all processes."""
    sums = torch.tensor(numbers, device=trainer.strategy.root_device)
    return [int(value) for value in trainer.strategy.reduce(sums, reduce_op="sum")]


def require_same_settings(config: dict[str, Any]) -> None:
    """Raise RunStopped if the processes of this run were given different settings, as an adaptive sweep would."""
    everyones = gathered([dict(leaves(config))])
    different = {key for one in everyones for key in one if one[key] != everyones[0].get(key)}
    if different:
        values = [f"{key}: {', '.join(str(one.get(key)) for one in everyones)}" for key in sorted(different)]
        raise RunStopped("The processes of this run were given different settings:\n  " + "\n  ".join(values))
