"""What a checkpoint carries, so that a run goes on bit-equal: the record of the run, and how far it is."""

import time
from typing import Any

import torch

from src.data.dataset import Batch
from src.data.seeds import mixed_seed
from src.models.adapted import AdaptedNetwork
from src.runs.progress import Progress
from src.runs.record import CHECKPOINT_KEY, RunRecord
from src.runs.resumed_state import take_over
from src.training.metric_states import States, restore_training_states, scalars, training_states
from src.training.phases import PhasedModule, TrainingPlan


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

    def set_rate(self, index: int, rate: float) -> None:
        """And let the checkpoints say so."""
        super().set_rate(index, rate)
        self.record = self.record.with_rate(index, rate)

    def set_batch_size(self, batch_size: int) -> None:
        """What the checkpoints say of the size of the batches."""
        self.record = self.record.with_batch_size(batch_size)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Mixing, dropout and the like follow from the step alone: a resumed run draws what the uninterrupted one did.
        torch.manual_seed(mixed_seed(self.seed + 1, self.current_epoch, batch_idx, self.global_rank))
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
            metrics=scalars(self.trainer.callback_metrics),
            fit_seconds=self.fit_seconds,
        )
        checkpoint[CHECKPOINT_KEY] = {**self.record.to_dict(), **vars(progress)}
