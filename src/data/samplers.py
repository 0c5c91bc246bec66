"""What is drawn follows from (seed, epoch, image) alone, so that a resumed run goes on as it would."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler

Draw = tuple[int, int]  # (epoch, position in the dataset)
FACTOR = 1_000_003
BATCHES_MIXED = 16  # within which images are sorted by their shape


def mixed_seed(*parts: int) -> int:
    """One seed for a generator from several whole numbers of at least 0, below 2^63."""
    return reduce(lambda mixed, part: (mixed * FACTOR + part) % (1 << 63), parts, 0)


@contextmanager
def seeded(*parts: int) -> Iterator[None]:
    """Within the block, torch's CPU random numbers follow from `parts` alone; afterwards they go on as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(mixed_seed(*(part + 1 for part in parts)))  # not those of accelerators
        yield


class EpochSampler(Sampler[Draw]):
    """Draws (epoch, position): in training anew each epoch by (seed, epoch) alone, and shared out among the processes.

    In training every process gets equally many, a few images twice if need be; in evaluation each image is seen
    exactly once, so that metrics are those of a single process. `weights_N`: how often, relatively, each image is drawn
    in training (with replacement); None = each once. `skip`: (epoch, images of this process at its beginning to leave
    out), where a run was interrupted within it. `shapes`: height / width of each image [N], and the size of batches of
    one process, which then have images of similar shapes.
    """

    def __init__(
        self,
        size: int,
        training: bool,
        seed: int,
        epoch: int = 0,
        rank: int = 0,
        processes: int = 1,
        weights_N: npt.NDArray[np.float64] | None = None,
        skip: tuple[int, int] = (0, 0),
        shapes: tuple[npt.NDArray[np.float64], int] | None = None,
    ) -> None:
        self.size, self.training, self.seed, self.epoch = size, training, seed, epoch
        self.rank, self.processes, self.skip = rank, processes, skip
        self.shapes = shapes
        self.cumulated_N = None if weights_N is None else np.cumsum(weights_N) / weights_N.sum()

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.training:
            return -(-self.size // self.processes)
        return len(range(self.rank, self.size, self.processes))

    def __iter__(self) -> Iterator[Draw]:
        order = np.arange(self.size)
        if self.training:
            # All processes draw the same order, and each takes its share of it.
            generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
            total = len(self) * self.processes
            if self.cumulated_N is not None:
                drawn = torch.rand(total, generator=generator, dtype=torch.float64).numpy()
                order = np.minimum(np.searchsorted(self.cumulated_N, drawn, side="right"), self.size - 1)
            else:
                order = np.resize(torch.randperm(self.size, generator=generator).numpy(), total)
            if self.shapes is not None:
                order = batched_by_shape(order, self.shapes[0], self.shapes[1] * self.processes, generator)
        first = self.skip[1] if self.epoch == self.skip[0] else 0
        return ((self.epoch, int(position)) for position in order[self.rank :: self.processes][first:])


def batched_by_shape(
    order: npt.NDArray[np.int64], aspects_N: npt.NDArray[np.float64], batch: int, generator: torch.Generator
) -> npt.NDArray[np.int64]:
    """The same positions, so that each `batch` of them in a row has images of similar height / width, `aspects_N`.

    Images stay in the stretch of BATCHES_MIXED batches in which they were drawn; its batches come in random order.
    """
    found = []
    for start in range(0, len(order), BATCHES_MIXED * batch):
        stretch = order[start : start + BATCHES_MIXED * batch]
        alike = stretch[np.argsort(aspects_N[stretch], kind="stable")]
        whole = len(alike) // batch
        turns = torch.randperm(whole, generator=generator).tolist()
        found += [*(alike[turn * batch : (turn + 1) * batch] for turn in turns), alike[whole * batch :]]
    return np.concatenate(found)


def balancing_weights(strata: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """[N], from `Targets.strata`, so that each class is drawn equally often; of several per image the rarest counts."""
    if strata.ndim == 1:
        return np.asarray(1.0 / np.bincount(strata)[strata])
    counts_K = np.maximum(strata.sum(axis=0, dtype=np.int64), 1)
    return np.asarray(np.where(strata > 0, 1.0 / counts_K, 1.0 / len(strata)).max(axis=1))
