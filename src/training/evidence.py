"""What is kept of each image of an evaluation: how it is collected, and what a task makes of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image

from src.data.table import ImageTable
from src.evaluation.evidence import Evidence, finite_evidence
from src.evaluation.prediction import Prediction
from src.training.callbacks.every_batch import EveryBatch
from src.training.processes import gathered


class EvidenceCollector(EveryBatch):
    """Takes what a validation or test step returns: rows of the image table int64 [B] as `index`, and kept tensors.

    Not while the network trains: of those weights nobody asks for more than the metrics.
    """

    def __init__(self) -> None:
        self.batches: list[dict[str, npt.NDArray[Any]]] = []

    def see(self, trainer: Trainer, split: str, outputs: Any, batch: Any, i: int) -> None:
        if outputs is not None and trainer.state.fn != TrainerFn.FITTING:
            self.batches.append({name: value.cpu().numpy() for name, value in outputs.items()})

    def take(self, split: str, table: ImageTable) -> Evidence:
        """Of all processes, by row, without what is not finite; every process has to call it."""
        batches, self.batches = gathered(self.batches), []
        if not batches:  # trainer.limit_val_batches=0
            return finite_evidence(split, table, np.empty(0, dtype=np.int64), {})
        arrays = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        rows_N = arrays.pop("index")
        order_N = np.argsort(rows_N, kind="stable")
        return finite_evidence(split, table, rows_N[order_N], {name: a[order_N] for name, a in arrays.items()})


class FromEvidence(ABC):
    """Part of the base of the tasks."""

    @abstractmethod
    def predictions_of(self, evidence: Evidence) -> Iterator[Prediction]:
        """What is said about each image."""

    def figures(
        self, split: str, arrays: Mapping[str, npt.NDArray[Any]], labels: npt.NDArray[Any]
    ) -> dict[str, Image.Image]:
        """Drawn for TensorBoard, by name, of what a validation step returned [N, ...] and the labels [N]."""
        return {}

    def calibrate(self, val: Evidence) -> dict[str, float]:
        """Learn from the best weights' evidence of val, which has images; what best.ckpt then carries, if anything."""
        return {}

    def further_metrics(self, evidence: Evidence) -> dict[str, float]:
        """Of the final weights on a split, beside those that each validation logs; there are images."""
        return {}
