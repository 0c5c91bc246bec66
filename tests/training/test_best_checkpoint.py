"""Which epoch is kept as the best, of the values that an epoch may have."""

from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from src.evaluation.best_epoch import best_epoch
from src.training.callbacks.best_checkpoint import BestCheckpoint

VALUES = {
    "the latest of those that found nothing": ([0.0, 0.0, 0.0], "max", 2),
    "the first that found something": ([0.0, 0.5, 0.5, 0.0], "max", 1),
    "the first of equal ones": ([0.2, 0.2], "max", 0),
    "0 is the best of losses": ([0.0, 0.0, 1.0], "min", 0),
    "the lowest loss": ([2.0, 1.0, 1.5], "min", 1),
}


class Scripted(LightningModule):
    """Whose val/score of each epoch is given."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.weight, self.scores = torch.nn.Parameter(torch.zeros(1)), scores

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return (self.weight * batch).sum()

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.log("val/score", self.scores[self.current_epoch], batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("case", VALUES)
def test_the_best_epoch(case: str, tmp_path: Path) -> None:
    scores, mode, expected = VALUES[case]
    kept = BestCheckpoint(
        tmp_path, "best", monitor="val/score", mode=mode, save_on_train_epoch_end=True, enable_version_counter=False
    )
    trainer = Trainer(
        max_epochs=len(scores), accelerator="cpu", callbacks=[kept], logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1,
    )  # fmt: skip
    batches = DataLoader(torch.ones(1, 1))
    trainer.fit(Scripted(scores), batches, batches)
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["epoch"] == expected == best_epoch(scores, mode)
