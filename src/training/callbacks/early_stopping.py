"""The end of a phase that no longer improves."""

import logging
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from src.settings.plurals import number_of
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)


class PhaseEarlyStopping(EarlyStopping):
    """Ends the current phase when the monitored metric no longer improves; the next phase counts afresh."""

    phase_index = 0

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        assert isinstance(task, FineTuneTask)
        if self.phase_index != task.phase_index:
            fresh = EarlyStopping(monitor=self.monitor, mode=self.mode)
            self.phase_index, self.wait_count, self.best_score = task.phase_index, 0, fresh.best_score

    def on_train_end(self, trainer: Trainer, task: LightningModule) -> None:
        if trainer.should_stop:
            waited = number_of(self.wait_count, "epoch")
            log.info("%s has not improved for %s: this phase ends.", self.monitor, waited)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "phase_index": self.phase_index}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        counts = [state_dict[key] for key in ("wait_count", "stopped_epoch", "phase_index")]
        if not all(isinstance(count, int) for count in counts) or not isinstance(state_dict["best_score"], Tensor):
            raise ValueError("counts of early stopping are no numbers")
        super().load_state_dict({**state_dict, "patience": self.patience})  # which a resumed run may have changed
        self.phase_index = state_dict["phase_index"]
