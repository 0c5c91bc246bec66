"""Runs that were stopped and went on, compared bit by bit with others."""

from typing import Any

import torch
from conftest import Run


def assert_same(actual: Any, expected: Any, at: str = "") -> None:
    """Nested plain data with tensors, bit by bit."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(actual, expected), at
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys(), at
        for key in expected:
            assert_same(actual[key], expected[key], f"{at}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected), at
        for i, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert_same(one, other, f"{at}.{i}")
    else:
        assert actual == expected or (actual != actual and expected != expected), at


def assert_same_end(resumed: Run, whole: Run) -> None:
    """Weights, their moving average, optimizer, schedule, and every metric."""
    expected, actual = whole.checkpoint("last"), resumed.checkpoint("last")
    for key in ("state_dict", "trained_state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert (key in expected) == (key in actual)
        if key in expected:
            assert_same(actual[key], expected[key], key)
    assert_same(actual["callbacks"]["EpochLog"], expected["callbacks"]["EpochLog"])
    metrics, wanted = resumed.metrics, whole.metrics
    assert metrics.keys() == wanted.keys()
    for name in wanted.keys() - {"fit_seconds"}:
        assert metrics[name] == wanted[name] or metrics[name] is None, name
