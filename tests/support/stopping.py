"""A run that ends in the middle of an epoch."""

import pytest
import torch


class Stop(Exception):
    pass


def stop_at(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """As if the machine went down in the middle of an epoch."""
    from src.tasks.classification.task import ClassificationTask

    step = ClassificationTask.training_step

    def training_step(self: ClassificationTask, batch: dict, batch_idx: int) -> torch.Tensor | None:
        if self.current_epoch == epoch and batch_idx == 1:
            raise Stop
        return step(self, batch, batch_idx)

    monkeypatch.setattr(ClassificationTask, "training_step", training_step)
