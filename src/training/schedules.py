"""Learning-rate schedules as functions of the time in epochs.

Each schedule takes the optimizer, and what only the task knows: how many optimizer steps per epoch has and how many
epochs the phase. It multiplies the rate of every parameter group by the same factor, which depends on the step alone,
so a resumed run continues exactly.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from src.settings.errors import RunStopped
from src.settings.rules import at_least, more_than


def _schedule(
    optimizer: Optimizer, steps_per_epoch: int, warmup_epochs: float, factor: Callable[[float], float]
) -> LambdaLR:
    """Multiply each group's rate by `factor(epochs gone by)`; over `warmup_epochs` it also climbs linearly from 0."""
    warmup_steps = round(warmup_epochs * steps_per_epoch)

    def factor_at(step: int) -> float:
        warmup = (step + 1) / (warmup_steps + 1) if step < warmup_steps else 1.0
        return warmup * factor(step / steps_per_epoch)

    return LambdaLR(optimizer, factor_at)


def constant(optimizer: Optimizer, steps_per_epoch: int, epochs: int, warmup_epochs: float = 0.0) -> LambdaLR:
    """The same rate throughout."""
    return _schedule(optimizer, steps_per_epoch, warmup_epochs, lambda epoch: 1.0)


def cosine(
    optimizer: Optimizer, steps_per_epoch: int, epochs: int, warmup_epochs: float = 0.0, final_factor: float = 0.0
) -> LambdaLR:
    """Half a cosine down to `final_factor` of the rate (Loshchilov and Hutter 2017, arXiv 1608.03983, no restarts)."""

    def factor(epoch: float) -> float:
        progress = _progress_after_warmup(epoch, epochs, warmup_epochs)
        return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * progress)) / 2

    return _schedule(optimizer, steps_per_epoch, warmup_epochs, factor)


def linear(
    optimizer: Optimizer, steps_per_epoch: int, epochs: int, warmup_epochs: float = 0.0, final_factor: float = 0.0
) -> LambdaLR:
    """A straight line down to `final_factor` of the rate."""
    return _schedule(
        optimizer, steps_per_epoch, warmup_epochs,
        lambda epoch: 1 - (1 - final_factor) * _progress_after_warmup(epoch, epochs, warmup_epochs),
    )  # fmt: skip


def step(
    optimizer: Optimizer,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float = 0.0,
    step_epochs: Annotated[int, at_least(1)] = 7,
    gamma: float = 0.1,
) -> LambdaLR:
    """A drop by `gamma` every `step_epochs` epochs."""
    return _schedule(optimizer, steps_per_epoch, warmup_epochs, lambda epoch: gamma ** (_whole(epoch) // step_epochs))


def multistep(
    optimizer: Optimizer,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float = 0.0,
    milestones: Sequence[float] = (0.5, 0.75),
    gamma: float = 0.1,
) -> LambdaLR:
    """A drop by `gamma` at each milestone, a share 0..1 of the phase, rounded to the start of an epoch."""
    starts = [round(milestone * epochs) for milestone in milestones]
    return _schedule(
        optimizer, steps_per_epoch, warmup_epochs, lambda epoch: gamma ** sum(_whole(epoch) >= one for one in starts)
    )


def exponential(
    optimizer: Optimizer, steps_per_epoch: int, epochs: int, warmup_epochs: float = 0.0, gamma: float = 0.9
) -> LambdaLR:
    """A drop by `gamma` at the start of every epoch."""
    return _schedule(optimizer, steps_per_epoch, warmup_epochs, lambda epoch: gamma ** _whole(epoch))


def onecycle(
    optimizer: Optimizer,
    steps_per_epoch: int,
    epochs: int,
    warmup_fraction: float = 0.3,
    start_divisor: Annotated[float, more_than(0)] = 25.0,
    final_divisor: Annotated[float, more_than(0)] = 1e4,
) -> LRScheduler:
    """Up to each group's own rate and down again, momentum the other way (Smith and Topin 2018, arXiv 1708.07120)."""
    return OneCycle(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        # One more than is used: torch's OneCycleLR raises when it is stepped once past the end.
        total_steps=steps_per_epoch * epochs + 1,
        pct_start=warmup_fraction,
        div_factor=start_divisor,
        final_div_factor=final_divisor,
    )


class OneCycle(OneCycleLR):
    """Keeps in checkpoints only where it is: its length follows from the settings, and a resumed run may be longer.

    `_step_count` is private to torch, whose schedules tell by it whether a step is the first, and warn.
    """

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name in ("last_epoch", "_step_count")}


def convert_moves(scheduler: Any, before: int, now: int) -> None:
    """Put a schedule of this module, which counts optimizer steps, to where it was when an epoch had `before` of them.

    Raises RunStopped for torch's own schedules, most of which only know how to go on from one step to the next.
    """
    if not isinstance(scheduler, LambdaLR | OneCycle):
        raise RunStopped(
            f"The schedule {type(scheduler).__name__} counts optimizer steps, and an epoch had {before} of them before "
            f"the interruption and has {now} now: resume with the batch size, accumulation and processes that the "
            "run had, or start a new run with scheduler=cosine or another schedule of this project."
        )
    scheduler.last_epoch = round(scheduler.last_epoch / before * now) - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wants an optimizer step first
        scheduler.step()


def _progress_after_warmup(epoch: float, epochs: int, warmup_epochs: float) -> float:
    """0 at the end of the warmup, 1 at the end of the phase."""
    return min(max((epoch - warmup_epochs) / max(epochs - warmup_epochs, 1e-9), 0.0), 1.0)


def _whole(epoch: float) -> int:
    """Whole epochs gone by; a step count divided by the steps of an epoch may lie a rounding error below."""
    return math.floor(epoch + 1e-6)
