"""What a checkpoint carries, so that a run goes on bit-equal: the record of the run, and how far it is."""

import time
from dataclasses import replace
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, as_tensor, tensor
from torchmetrics import Metric

from src.data.dataset import Batch
from src.data.samplers import mixed_seed
from src.models.adapted import AdaptedNetwork
from src.runs.progress import Progress
from src.runs.record import CHECKPOINT_KEY, RunRecord
from src.runs.resumed_state import take_over
from src.training.phases import PhasedModule, TrainingPlan

States = dict[str, dict[str, Tensor]]
PREFIX = "train_"  # of the attributes that count over a training epoch


class ResumableModule(PhasedModule):
    """A phased training that can be interrupted. `record` is what each checkpoint carries of the run."""

    def __init__(self, model: AdaptedNetwork, plan: TrainingPlan, record: RunRecord) -> None:
        super().__init__(model, plan)
        self.seed, self.record = plan.seed, record
        self._started = time.perf_counter()
        self._training_states: States = {}  # of the resumed epoch's first part
        for index, rate in record.rates.items():
            super().set_rate(index, rate)

    def start_clock(self, seconds_before: float) -> None:
        """Count `fit_seconds` from now on, and on top of what an interrupted run has trained."""
        self._started = time.perf_counter() - seconds_before

    @property
    def fit_seconds(self) -> float:
        return time.perf_counter() - self._started

    def logged_metrics(self) -> dict[str, float]:
        """What was logged last."""
        return {name: float(value) for name, value in self.trainer.callback_metrics.items()}

    def set_rate(self, index: int, rate: float) -> None:
        """And let the checkpoints say so."""
        super().set_rate(index, rate)
        self.record = replace(self.record, rates={**self.record.rates, index: rate})

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Mixing, dropout and the like follow from the step alone: a resumed run draws what the uninterrupted one did.
        seed_device(self.device, mixed_seed(self.seed + 1, self.current_epoch, batch_idx, self.global_rank))
        states, self._training_states = self._training_states, {}
        if self.global_rank == 0:
            restore_training_states(self, states)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        progress = take_over(checkpoint, self.record)
        self._training_states, self._moves_per_epoch_before = progress.training_metrics, progress.moves_per_epoch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.state_dict()["processed"]
        within_epoch = batches < self.trainer.num_training_batches
        progress = Progress(
            phase=self.phase_index,
            phase_start_epoch=self.phase_start_epoch,
            phase_epochs=[phase.epochs for phase in self.phases],
            epochs_done=self.trainer.fit_loop.epoch_progress.current.state_dict()["processed"],
            moves_per_epoch=self.moves_per_epoch,
            batches_done=batches if within_epoch else 0,
            processes=self.trainer.world_size,
            training_metrics=training_states(self, self.trainer.world_size > 1) if within_epoch else {},
            metrics=self.logged_metrics(),
            fit_seconds=self.fit_seconds,
        )
        checkpoint[CHECKPOINT_KEY] = {**self.record.to_dict(), **vars(progress)}


def seed_device(device: torch.device, seed: int) -> None:
    """As torch.manual_seed, for the CPU and `device` alone.

    That one notes for each kind of device that is not in use who asked, which takes milliseconds in each step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def training_metrics(task: LightningModule) -> dict[str, Metric]:
    """What counts over a training epoch, by attribute."""
    metrics = {name: module for name, module in task.named_children() if name.startswith(PREFIX)}
    return {name: metric for name, metric in metrics.items() if isinstance(metric, Metric)}


def training_states(task: LightningModule, several_processes: bool) -> States:
    """What the metrics of the current epoch have counted so far, on all processes, each of which has to call this."""
    states = {}
    for name, metric in training_metrics(task).items():
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
