"""What is computed once and kept: which of it, where, and by which process of a run."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from lightning import Trainer

from src.data.cache.entries import open_entry
from src.data.decode import UnreadableImage
from src.data.table import ImageTable
from src.data.targets import Rows

log = logging.getLogger(__name__)

MAX_TRIED_AGAIN = 100  # of the images that could not be read when an entry was filled


@dataclass(frozen=True)
class CachePlan:
    """The settings of the cache: `kind` is auto, features, images or none."""

    kind: str
    views: int | None
    folder: Path
    most_gb: float | None

    def may_keep_features(self, trainer: Trainer | None) -> bool:
        """Whether a frozen network may run once over each view of an image, and not in every epoch."""
        return self.kind in ("auto", "features") and not is_partial(trainer)

    def open(
        self,
        name: str,
        what: str,
        fill: Callable[[Path], None],
        find_outdated: Callable[[Path], str],
        trainer: Trainer | None,
    ) -> tuple[Path, IO[bytes]]:
        """The folder of an entry and its lock, as in `open_entry`: in one process of each machine before the others."""
        folder = self.folder / name

        def timed_fill(temporary: Path) -> None:
            start = time.perf_counter()
            fill(temporary)
            log.info("Kept %s in %s (%.1f s)", what, folder, time.perf_counter() - start)

        is_first = trainer is None or trainer.local_rank == 0
        entry = partial(open_entry, folder, timed_fill, self.most_gb, find_outdated, is_first)
        lock = entry() if is_first else None
        if trainer is not None:
            trainer.strategy.barrier("cache")
        return folder, entry() if lock is None else lock


def is_partial(trainer: Any) -> bool:
    """Whether this fit sees only a part of the data, as for debugging: then nothing is computed for all of them."""
    if trainer is None:
        return False
    limits = (trainer.limit_train_batches, trainer.limit_val_batches)
    return bool(trainer.fast_dev_run or trainer.overfit_batches or any(limit != 1.0 for limit in limits))


def readable_by_now(
    table: ImageTable, rows: Rows, needed_px: int, reasons_in: Callable[[Path], dict[int, str]], entry: Path
) -> str:
    """Says that images can be read now that could not when an entry was filled: its disk failed, say, or their rights
    were wrong, which no size and time of a file tells. An empty text if that is not so.
    """
    positions = list(reasons_in(entry))
    for position in positions[:: -(-len(positions) // MAX_TRIED_AGAIN) or 1]:
        row = int(rows[position])
        try:
            table.read(row, needed_px)
        except UnreadableImage:
            continue
        return f"{table.paths[row]} can be read now, which was not so when the entry was made"
    return ""
