"""What the processes of one run agree on."""

from typing import Any

import torch
from lightning import Trainer

from src.settings.check import leaves
from src.settings.errors import RunStopped


def require_same_settings(trainer: Trainer, config: dict[str, Any]) -> None:
    """Raise RunStopped if the processes of this run were given different settings, as an adaptive sweep would."""
    if trainer.world_size == 1:
        return
    everyones: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(everyones, dict(leaves(config)))
    different = {key for one in everyones for key in one if one[key] != everyones[0].get(key)}
    if different:
        values = [f"{key}: {', '.join(str(one.get(key)) for one in everyones)}" for key in sorted(different)]
        raise RunStopped("The processes of this run were given different settings:\n  " + "\n  ".join(values))


def on_any_process(trainer: Trainer, condition: bool) -> bool:
    """Whether it is so on at least one process; all of them have to ask."""
    if trainer.world_size == 1:
        return condition
    return trainer.strategy.reduce_boolean_decision(condition, all=False)
