"""What the frozen part of a network makes of the images, computed once and kept on disk: then only the head trains."""

import json
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor
from torch.utils.data import Dataset

from src.cli.progress import progress_bar
from src.data.cache.entries import entry_name, require_space
from src.data.cache.plan import CachePlan, readable_by_now
from src.data.dataset import MAX_SUBSTITUTES, Batch
from src.data.samplers import Draw
from src.data.table import ImageTable
from src.data.targets import Rows
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

BatchesOfView = Callable[[int], Iterable[Batch]]  # of the images of all rows
DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64)}


class FrozenNetwork(Protocol):
    """A network of which only the head trains."""

    def frozen_fingerprint(self) -> str:
        """Changes with the frozen weights and with the precision in which they compute."""

    def frozen_features(self, images_BCHW: Tensor) -> Tensor:
        """What the head gets to see of images uint8 [B, 3, H, W]."""


class FeatureCache:
    """`features_VN` [views, N, ...], mapped from a file, and for each position without an image the reason.

    The sizes of the files in `folder` have been compared: memory beyond the end of one would end the process.
    """

    def __init__(self, folder: Path, lock: IO[bytes]) -> None:
        self.lock, self.reasons = lock, reasons_in(folder)
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        shape, dtype = facts["shape"], DTYPES[facts["dtype"]]
        mapped = torch.from_file(str(folder / "features.bin"), shared=False, size=int(np.prod(shape)), dtype=dtype)
        self.features_VN = mapped.view(shape)


class FeatureDataset(Dataset[Batch]):
    """What the frozen network made of each image of a split, batch by batch; damage is as in ImageDataset."""

    def __init__(self, table: ImageTable, rows: Rows, substitute: bool, kept: FeatureCache) -> None:
        self.table, self.rows, self.substitute, self.kept = table, rows, substitute, kept

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, draws: list[Draw]) -> Batch:
        view, positions = 0, list[int]()
        unreadable: list[tuple[str, str]] = []
        most_tries = min(MAX_SUBSTITUTES, len(self)) if self.substitute else 1
        for number, (epoch, first) in enumerate(draws):
            view = epoch % len(self.kept.features_VN)
            in_vain = len(positions) < number  # as in ImageDataset
            for offset in range(1 if in_vain else most_tries):
                position = (first + offset) % len(self)
                if position not in self.kept.reasons:
                    positions.append(position)
                    break
                unreadable.append((str(self.table.paths[self.rows[position]]), self.kept.reasons[position]))
        rows = self.rows[positions]
        return {
            "features": self.kept.features_VN[view, positions],
            "label": torch.from_numpy(self.table.targets.take(rows).values),
            "index": torch.from_numpy(rows),
            "unreadable": unreadable,
        }


def cached_features(
    plan: CachePlan,
    table: ImageTable,
    rows: Rows,
    views: int,
    settings: list[str],
    batches_of_view: BatchesOfView,
    network: FrozenNetwork,
    needed_px: int,
    trainer: Trainer | None,
) -> FeatureCache:
    """What `network` makes of these rows, in batches for each view, computed first if need be.

    `settings` are with the network's weights all that it depends on; `needed_px` is as in `ImageTable.read`.
    """
    name = entry_name("features", table.content_stamp(rows), *settings, network.frozen_fingerprint())
    times = f" x {views} views" if views > 1 else ""
    what = f"what the frozen network makes of {number_of(len(rows), 'image')}{times}"
    fill = partial(fill_features, table, rows, views, batches_of_view, network)
    find_outdated = partial(readable_by_now, table, rows, needed_px, reasons_in)
    return FeatureCache(*plan.open(name, what, fill, find_outdated, trainer))


def reasons_in(entry: Path) -> dict[int, str]:
    """Why there are no features, by position."""
    reasons = json.loads((entry / "facts.json").read_text(encoding="utf-8"))["unreadable"]
    return {int(position): reason for position, reason in reasons.items()}


def fill_features(
    table: ImageTable, rows: Rows, views: int, batches_of_view: BatchesOfView, network: FrozenNetwork, temporary: Path
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
                    features = network.frozen_features(batch["image"]).cpu()
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
