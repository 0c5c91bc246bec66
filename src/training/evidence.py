"""Collects what a task keeps of each image of an evaluation."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from src.data.table import ImageTable
from src.evaluation.evidence import MAX_NOT_FINITE, Evidence
from src.training.callbacks.every_batch import EveryBatch
from src.training.nonfinite import listed
from src.training.processes import gathered_arrays

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]


class EvidenceCollector(EveryBatch):
    """Takes what a validation or test step returns: rows of the image table int64 [B] as `index`, and kept tensors.

    Not while the network trains: of those weights nobody asks for more than the metrics.
    """

    def __init__(self) -> None:
        self.batches: list[dict[str, Array]] = []

    def see(self, trainer: Trainer, split: str, outputs: Any, batch: Any, i: int) -> None:
        if outputs is not None and trainer.state.fn != TrainerFn.FITTING:
            self.add(outputs)

    def add(self, outputs: Mapping[str, Tensor]) -> None:
        self.batches.append({name: value.cpu().numpy() for name, value in outputs.items()})

    def take(self, split: str, table: ImageTable) -> Evidence:
        """Of all processes, by row, without what is not finite; every process has to call it."""
        arrays, self.batches = gathered_arrays(self.batches), []
        rows_N = arrays.pop("index", np.empty(0, dtype=np.int64))  # trainer.limit_val_batches=0
        order_N = np.argsort(rows_N, kind="stable")
        return finite_evidence(split, table, rows_N[order_N], {name: a[order_N] for name, a in arrays.items()})


def finite_evidence(split: str, table: ImageTable, rows_N: npt.NDArray[np.int64], arrays: dict[str, Array]) -> Evidence:
    """Without images of which something kept is not finite, which a warning names."""
    finite_N = np.ones(len(rows_N), dtype=np.bool_)
    for values in arrays.values():
        if np.issubdtype(values.dtype, np.floating):
            finite_N &= np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    measurable = int((~finite_N).sum()) <= MAX_NOT_FINITE * len(rows_N)
    if not finite_N.all():
        too_many = f". More than {MAX_NOT_FINITE:.0%} is too many: there are no metrics of {split}"
        log.warning(
            "The outputs for %d of %d %s images are not finite; metrics, calibration, predictions and report leave "
            "them out%s:%s",
            (~finite_N).sum(), len(rows_N), split, "" if measurable else too_many, listed(table, rows_N[~finite_N]),
        )  # fmt: skip
    good_N = rows_N[finite_N]
    kept = {name: values[finite_N] for name, values in arrays.items()}
    groups_N = None if table.groups_N is None else table.groups_N[good_N]
    return Evidence(split, good_N, kept, table.targets.labels(good_N), groups_N, measurable)
