"""How long a file takes, beside torch."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from src.exporting.graph import quiet
from src.exporting.run import Runner
from src.settings.errors import first_line
from src.settings.plurals import number_of
from src.training.exported_model import ExportedModel

BATCHES = (1, 32)
ROUNDS = 7  # alternated, so that another load on the machine meets all of them
SECONDS = 0.3  # at least, a round and file


def print_latency(model: ExportedModel, runs: dict[str, Runner], size_px: int) -> None:
    """Milliseconds a batch, preprocessing included, of square images of `size_px`: the median of the rounds."""
    print(f"ms per batch, {size_px} x {size_px} pixels, {number_of(torch.get_num_threads(), 'thread')}")
    for batch in BATCHES[:1] if model.takes_one else BATCHES:
        images_NCHW = np.random.default_rng(0).integers(0, 256, (batch, 3, size_px, size_px), dtype=np.uint8)
        images = torch.from_numpy(images_NCHW)
        candidates: dict[str, Callable[[], object]] = {"torch eager": partial(model, images)}
        if (compiled := try_compile(model, images)) is not None:
            candidates["torch compiled"] = partial(compiled, images)
        candidates |= {f"file {name}": partial(run, images_NCHW) for name, run in runs.items()}
        with torch.no_grad():
            times = {name: [time_once(call)] for name, call in candidates.items()}
            for _ in range(ROUNDS):
                for name, call in candidates.items():
                    times[name].append(time_once(call))
        for name, seconds in times.items():
            print(f"batch {batch:2d}  {name:16s} {1000 * statistics.median(seconds[1:]):9.2f}")


def time_once(call: Callable[[], object]) -> float:
    """Seconds a call, over as many calls as fill a round."""
    start, calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < SECONDS or not calls:
        call()
        calls += 1
    return elapsed / calls


def try_compile(model: ExportedModel, images: torch.Tensor) -> Callable[[torch.Tensor], object] | None:
    """The compiled model, compiled; None, with a word about it, where there is no compiler."""
    compiled = torch.compile(model)
    try:
        with quiet(), torch.no_grad():
            compiled(images)
    except Exception as error:
        print(f"torch.compile does not work here: {first_line(error)[:150]}")
        return None
    return compiled
