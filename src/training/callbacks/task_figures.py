"""The task's own figures of val in the loggers."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from src.training.callbacks.every_batch import EveryBatch
from src.training.evidence import EvidenceCollector
from src.training.logged import log_image, shows_images
from src.training.task import FineTuneTask


class TaskFigures(EveryBatch):
    """Draws what the task draws of val (`FineTuneTask.figures`), now and then and at the end of each phase.

    Those of test are drawn with the report (src/tasks/reporting.py).
    """

    def __init__(self, every_n_epochs: int = 5) -> None:
        self.every_n_epochs = every_n_epochs
        self.is_due, self.evidence = False, EvidenceCollector()

    def on_validation_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        fits = trainer.state.fn == TrainerFn.FITTING and shows_images(trainer)
        self.is_due = fits and (epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs)
        self.evidence.batches = []

    def see(self, trainer: Trainer, split: str, outputs: Any, batch: Any, i: int) -> None:
        if split == "val" and self.is_due and outputs is not None:
            self.evidence.add(outputs)

    def on_train_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        """Every process gives what it has seen; the first one draws."""
        if not self.is_due:
            return
        assert isinstance(task, FineTuneTask)
        self.is_due, table = False, trainer.datamodule.table  # type: ignore[attr-defined]
        evidence = self.evidence.take("val", table)
        if len(evidence) and trainer.is_global_zero:
            for name, image in task.figures(table, evidence).items():
                log_image(trainer, name, image.copy)
