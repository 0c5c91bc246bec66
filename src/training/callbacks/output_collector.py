"""What an evaluation keeps of each image."""

from typing import Any

import numpy as np
import numpy.typing as npt
from lightning import Callback, LightningModule, Trainer

from src.training.processes import gathered


class OutputCollector(Callback):
    """Keeps what the network says about each image of an evaluation: rows of the image table [N], outputs [N, K]."""

    def __init__(self) -> None:
        self.batches: list[dict[str, npt.NDArray[Any]]] = []

    def on_validation_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.keep(outputs)

    def on_test_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.keep(outputs)

    def keep(self, outputs: Any) -> None:
        if outputs is not None:
            self.batches.append({name: value.cpu().numpy() for name, value in outputs.items()})

    def take(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Of all processes, by row; every process has to call it."""
        batches, self.batches = gathered(self.batches), []
        if not batches:  # trainer.limit_val_batches=0
            return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        rows_N = np.concatenate([batch["index"] for batch in batches])
        order_N = np.argsort(rows_N, kind="stable")
        return rows_N[order_N], np.concatenate([batch["outputs"] for batch in batches])[order_N]
