"""What the frozen network makes of the images, kept on disk. src/data/cache/entries.py says what an entry is."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from src.cli.progress import progress_bar
from src.data.cache.entries import open_entry, require_space
from src.data.cache.images import readable_by_now
from src.data.table import ImageTable
from src.data.targets import Rows
from src.settings.errors import ConfigError

log = logging.getLogger(__name__)

DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64)}


class FeatureCache:
    """`features_VN` [views, N, ...], mapped from a file, and for each position without an image the reason.

    Args:
        folder: of the entry, whose sizes have been compared: memory beyond the end of a file would end the process.
        lock: keeps other runs from deleting it.
    """

    def __init__(self, folder: Path, lock: IO[bytes] | None = None) -> None:
        self.lock = lock
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        shape = facts["shape"]
        mapped = torch.from_file(
            str(folder / "features.bin"), shared=False, size=int(np.prod(shape)), dtype=DTYPES[facts["dtype"]]
        )
        self.features_VN = mapped.view(shape)
        self.reasons = {int(position): reason for position, reason in facts["unreadable"].items()}


def cached_features(
    folder: Path,
    table: ImageTable,
    rows: Rows,
    views: int,
    batches_of_view: Callable[[int], Iterable[dict[str, Any]]],
    features_of: Callable[[Tensor], Tensor],
    needed_px: int | None = None,
    most_gb: float | None = None,
    first: bool = True,
) -> FeatureCache:
    """The features of these rows, computed first if they are not there.

    Args:
        folder: the entry.
        table: that the rows belong to.
        rows: of the split.
        views: how many times each image is seen.
        batches_of_view: batches of images (see src/data/dataset.py) of all rows, for each view.
        features_of: what the frozen network makes of images uint8 [B, 3, H, W].
        needed_px: as in `ImageTable.read`.
        most_gb: as in `open_entry`.
        first: whether no other process of this run has opened it yet.
    """

    def fill(temporary: Path) -> None:
        start = time.perf_counter()
        fill_features(temporary, table, rows, views, batches_of_view, features_of)
        times = f" x {views} views" if views > 1 else ""
        log.info(
            "Kept what the frozen network makes of %s images%s in %s (%.1f s)",
            f"{len(rows):,}", times, folder, time.perf_counter() - start,
        )  # fmt: skip

    def find_outdated(entry: Path) -> str:
        unreadable = json.loads((entry / "facts.json").read_text(encoding="utf-8"))["unreadable"]
        return readable_by_now(table, rows, needed_px, [int(position) for position in unreadable])

    return FeatureCache(folder, open_entry(folder, fill, most_gb, find_outdated, read_all=first))


def fill_features(
    temporary: Path,
    table: ImageTable,
    rows: Rows,
    views: int,
    batches_of_view: Callable[[int], Iterable[dict[str, Any]]],
    features_of: Callable[[Tensor], Tensor],
) -> None:
    position_of_row = np.full(len(table), -1)
    position_of_row[rows] = np.arange(len(rows))
    reasons: dict[str, str] = {}
    readable = torch.zeros(len(rows), dtype=torch.bool)
    kept: Tensor | None = None
    with progress_bar() as progress:
        bar = progress.add_task("features", total=views * len(rows), speed="", loss="")
        for view in range(views):
            for batch in batches_of_view(view):
                reasons.update(batch["unreadable"])
                positions = torch.from_numpy(position_of_row[batch["index"].numpy()])
                if len(positions):
                    features = features_of(batch["image"]).cpu()
                    if kept is None:
                        kept = new_map(temporary / "features.bin", [views, len(rows), *features.shape[1:]], features)
                    kept[view, positions] = features
                    readable[positions] = True
                progress.update(bar, advance=len(positions))
    if kept is None:
        shown = "".join(f"\n  {path}: {reason}" for path, reason in list(reasons.items())[:3])
        raise ConfigError(f"None of the {len(rows)} images can be read.{shown}")
    missing = torch.nonzero(~readable).flatten().tolist()
    unreadable = {position: reasons[str(table.paths[rows[position]])] for position in missing}
    facts = {"shape": list(kept.shape), "dtype": str(kept.dtype), "unreadable": unreadable}
    (temporary / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def new_map(file: Path, shape: list[int], like: Tensor) -> Tensor:
    """A file of zeros as a tensor of the dtype of `like`: what is written to it goes to the file."""
    elements = int(np.prod(shape))
    size = elements * like.element_size()
    require_space(file.parent, size)
    if hasattr(os, "posix_fallocate"):  # else a disk that is full later would end the process
        with file.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
    return torch.from_file(str(file), shared=True, size=elements, dtype=like.dtype).view(shape)
