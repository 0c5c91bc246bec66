"""The validation images by what the head gets to see of them, for TensorBoard's projector."""

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from src.data.table import ImageTable
from src.models.classifier import pooled
from src.training.callbacks.every_batch import EveryBatch
from src.training.logged import show, shows_embeddings
from src.training.processes import gathered_arrays
from src.training.task import FineTuneTask

MOST = 500  # images: their vectors become a text file, and the projector becomes slow with thousands
THUMBNAIL_PX = 48

Embeddings = dict[str, npt.NDArray[Any]]


class EmbeddingCollector(EveryBatch):
    """Keeps embeddings float32 [N, C] and thumbnails uint8 [N, 3, 48, 48] of some of the images that val measures.

    At most MOST images, evenly spread, of a network that has been trained, where a logger shows them.
    """

    def __init__(self) -> None:
        self.hook: RemovableHandle | None = None
        self.batches: list[Embeddings] = []

    def on_validation_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.batches = []  # a soup is measured after the best epoch
        measured = trainer.state.fn == TrainerFn.VALIDATING and shows_embeddings(trainer)
        if measured and not (task := cast(FineTuneTask, task)).is_sharded:
            rows_N = trainer.datamodule.table.splits["val"]  # type: ignore[attr-defined]
            self.wanted = set(rows_N[:: -(-len(rows_N) // MOST) or 1].tolist())
            self.hook = task.watch_features(self.see_features)

    def see_features(self, features: Tensor) -> None:
        self.seen = features

    def see(self, trainer: Trainer, split: str, outputs: Any, batch: Any, i: int) -> None:
        if self.hook is None or "image" not in batch:
            return
        chosen = [n for n, row in enumerate(batch["index"].tolist()) if row in self.wanted]
        if not chosen:
            return
        thumbnails = F.interpolate(batch["image"][chosen].float(), (THUMBNAIL_PX, THUMBNAIL_PX), mode="area")
        self.batches.append({
            "index": batch["index"][chosen].cpu().numpy(),
            "embedding": pooled(self.seen)[chosen].float().cpu().numpy(),
            "thumbnail": thumbnails.round().byte().cpu().numpy(),
        })  # fmt: skip

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:
        if self.hook is not None:
            self.hook.remove()
            self.hook = None

    def take(self) -> Embeddings:
        """Of all processes, each of which has to call it: rows of the image table, embeddings and thumbnails."""
        return gathered_arrays(self.batches)


def log_embeddings(trainer: Trainer, table: ImageTable, found: Embeddings, predictions: dict[int, str]) -> None:
    """Into the loggers that show them, with labels, predictions (by row) and paths."""
    rows = [
        [clean(text) for text in (table.targets.text(row), predictions.get(row, ""), str(table.paths[row]))]
        for row in found["index"].tolist()
    ]
    vectors_NC, thumbnails = np.round(found["embedding"].astype(np.float64), 4), torch.from_numpy(found["thumbnail"])
    show(trainer, lambda shown: shown.embeddings(vectors_NC, thumbnails.float() / 255, rows, trainer.global_step))


def clean(text: str) -> str:
    """The projector reads a table with tabs between the columns."""
    return " ".join(text.split()) or "-"
