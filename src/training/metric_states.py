"""Metrics as plain data: as they are logged, and as they have counted so far within an epoch."""

from typing import Any

from lightning import LightningModule
from torch import Tensor, as_tensor, tensor
from torchmetrics import Metric

States = dict[str, dict[str, Tensor]]
PREFIX = "train_"  # of the attributes that count over a training epoch


def training_states(task: LightningModule, several_processes: bool) -> States:
    """What the metrics of the current epoch have counted so far, on all processes, each of which has to call this."""
    states = {}
    for name, metric in task.named_children():
        if name.startswith(PREFIX) and isinstance(metric, Metric):
            metric.sync()
            state = {key: as_tensor(value).clone() for key, value in metric.metric_state.items()}
            states[name] = {**state, "_update_count": tensor(metric.update_count)}
            if several_processes:
                metric.unsync()
    return states


def restore_training_states(task: LightningModule, states: States) -> None:
    """Go on counting from there. Names that the task has no metric for are passed over."""
    for name, state in states.items():
        metric = getattr(task, name, None)
        if not isinstance(metric, Metric) or not name.startswith(PREFIX):
            continue
        metric._update_count = int(state.get("_update_count", 0))
        for key, value in state.items():
            if key in metric._defaults and isinstance(value, Tensor):
                setattr(metric, key, value.to(task.device))


def scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """Logged metrics as numbers, without those of single steps."""
    return {name: float(value) for name, value in metrics.items() if not name.endswith("_step")}
