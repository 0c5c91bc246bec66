"""What a checkpoint carries, so that a run goes on bit-equal: the record of the run, and how far it is."""

import time
from pathlib import Path
from typing import Any

import torch

from src.data.dataset import Batch
from src.data.seeds import mixed_seed
from src.models.adapted import AdaptedNetwork
from src.runs.record import CHECKPOINT_KEY, moved
from src.runs.resumed_state import forget_foreign_files
from src.training.metric_states import States, restore_training_states, scalars, training_states
from src.training.phases import PhasedModule, TrainingPlan


class ResumableModule(PhasedModule):
    """A phased training that can be interrupted. `record` is plain data, which each checkpoint carries."""

    def __init__(self, model: AdaptedNetwork, plan: TrainingPlan, record: dict[str, Any]) -> None:
        super().__init__(model, plan)
        self.seed, self.record = plan.seed, record
        self._started = time.perf_counter()
        self._training_states: States = {}  # of the resumed epoch's first part

    def start_clock(self, seconds_before: float) -> None:
        """Count `fit_seconds` from now on, and on top of what an interrupted run has trained."""
        self._started = time.perf_counter() - seconds_before

    @property
    def fit_seconds(self) -> float:
        return time.perf_counter() - self._started

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Mixing, dropout and the like follow from the step alone: a resumed run draws what the uninterrupted one did.
        torch.manual_seed(mixed_seed(self.seed + 1, self.current_epoch, batch_idx, self.global_rank))
        states, self._training_states = self._training_states, {}
        if self.global_rank == 0:
            restore_training_states(self, states)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the callbacks go on in this run's directory, if it was moved since."""
        self._training_states = checkpoint[CHECKPOINT_KEY]["training_metrics"]
        self._moves_per_epoch_before = checkpoint[CHECKPOINT_KEY]["moves_per_epoch"]
        old = checkpoint[CHECKPOINT_KEY]["config"]["output_dir"]
        config = self.record["config"]
        checkpoint["callbacks"] = moved(checkpoint["callbacks"], old, config["output_dir"])
        if not config["trust"]:
            forget_foreign_files(checkpoint["callbacks"], Path(config["output_dir"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.state_dict()["processed"]
        within_epoch = batches < self.trainer.num_training_batches
        checkpoint[CHECKPOINT_KEY] = {
            **self.record,
            "phase": self.phase_index,
            "phase_start_epoch": self.phase_start_epoch,
            "phase_epochs": [phase.epochs for phase in self.phases],
            "epochs_done": self.trainer.fit_loop.epoch_progress.current.state_dict()["processed"],
            "moves_per_epoch": self.moves_per_epoch,
            "batches_done": batches if within_epoch else 0,
            "processes": self.trainer.world_size,
            "training_metrics": training_states(self, self.trainer.world_size > 1) if within_epoch else {},
            "metrics": scalars(self.trainer.callback_metrics),
            "fit_seconds": self.fit_seconds,
        }
