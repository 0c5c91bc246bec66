import math
from functools import partial

import pytest
import torch
from torch.optim import SGD

from src.training import schedules


def rates(schedule, steps_per_epoch: int = 10, epochs: int = 4) -> list[float]:
    """The rate used at each step, for a rate of 1; and of a second group of 0.1, checked to be in proportion."""
    optimizer = SGD([{"params": [torch.zeros(1)], "lr": 1.0}, {"params": [torch.zeros(1)], "lr": 0.1}], momentum=0.9)
    scheduler = schedule(optimizer, steps_per_epoch=steps_per_epoch, epochs=epochs)
    seen = []
    for _ in range(steps_per_epoch * epochs):
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert second == pytest.approx(first / 10)
        seen.append(first)
        optimizer.step()
        scheduler.step()
    return seen


def test_constant() -> None:
    assert rates(schedules.constant) == [1.0] * 40


def test_warmup_climbs_to_the_full_rate() -> None:
    seen = rates(partial(schedules.constant, warmup_epochs=0.5))
    assert seen[:6] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])


def test_cosine() -> None:
    seen = rates(partial(schedules.cosine, final_factor=0.2))
    assert seen[0] == 1 and seen[20] == pytest.approx(0.6) and 0.2 < seen[-1] < 0.21
    assert seen == sorted(seen, reverse=True)


def test_cosine_after_warmup_starts_at_the_top() -> None:
    seen = rates(partial(schedules.cosine, warmup_epochs=1.0))
    assert max(seen) == seen[10] == pytest.approx(1.0)
    assert seen[25] == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


def test_linear() -> None:
    seen = rates(schedules.linear)
    assert seen[0] == 1 and seen[20] == pytest.approx(0.5) and seen[-1] == pytest.approx(1 / 40)


def test_step() -> None:
    seen = rates(partial(schedules.step, step_epochs=2, gamma=0.1))
    assert seen == pytest.approx([1.0] * 20 + [0.1] * 20)


def test_drops_come_at_the_start_of_an_epoch_for_any_number_of_steps() -> None:
    for steps in (3, 7, 49):
        seen = rates(partial(schedules.exponential, gamma=0.5), steps_per_epoch=steps, epochs=6)
        assert seen == pytest.approx([0.5**epoch for epoch in range(6) for _ in range(steps)])


def test_multistep() -> None:
    seen = rates(partial(schedules.multistep, milestones=[0.5, 0.75], gamma=0.1))
    assert seen == pytest.approx([1.0] * 20 + [0.1] * 10 + [0.01] * 10)


def test_onecycle() -> None:
    seen = rates(partial(schedules.onecycle, warmup_fraction=0.25, start_divisor=10.0, final_divisor=100.0))
    assert seen[0] == pytest.approx(0.1) and max(seen) == pytest.approx(1, abs=0.01)
    assert 8 <= seen.index(max(seen)) <= 11 and seen[-1] < 0.02
