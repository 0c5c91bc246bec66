"""The checkpoints of the best epochs."""

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from src.evaluation.best_epoch import is_better


class BestCheckpoint(ModelCheckpoint):
    """Lightning's, but of epochs that found nothing it keeps the latest and not the first (`is_better`)."""

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        if super().check_monitor_top_k(trainer, current):
            return True
        best = self.best_model_score  # the same for all processes, as the value is
        return current is not None and best is not None and is_better(float(current), float(best), self.mode)
