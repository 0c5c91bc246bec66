"""The processes that read images (workers of a DataLoader): how many fit, and what to say when one is lost.

Imports no torch.
"""

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from src.settings.errors import RunStopped

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")  # Linux; through it batches come from the workers
FREE_SHARE = 0.9  # of what is free there may be needed
PREFETCHED = 2  # batches that each worker holds ready (DataLoader's default)
IN_USE = 2  # batches that the training process has taken already
SMALLEST_BYTES = 2**16  # that a worker needs there in any case, for its queues

MAX_CAUSES = 20  # of an error
LOST = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)"
    r"|(unable to \w+ (?:shared memory|file </?torch_|to file </?torch_))"
)


def available_workers() -> int:
    """One reading process per core that this process may use, up to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)


def workers_that_fit(
    wanted: int, batch_bytes: int = SMALLEST_BYTES, batches: int | None = None, processes: int = 1
) -> int:
    """At most `wanted`, so that what they hold ready fits into shared memory; a warning says if they are fewer.

    In a full one they would be killed or, worse, a batch be lost that the training waits for without end.

    Args:
        wanted: data.num_workers.
        batch_bytes: of one batch.
        batches: that there are at all; None = any number.
        processes: of the training on this machine, which have so many workers each.
    """
    if not wanted or not SHARED_MEMORY.is_dir():
        return wanted
    free = FREE_SHARE * shutil.disk_usage(SHARED_MEMORY).free

    def needed(workers: int) -> int:
        held = PREFETCHED * workers + IN_USE
        return processes * batch_bytes * (held if batches is None else min(held, batches))

    fitting = next((workers for workers in range(wanted, 0, -1) if needed(workers) <= free), 0)
    if fitting < wanted:
        log.warning(
            "%d processes that read images need %.1f MB of shared memory, and %s has %.1f MB free: data.num_workers=%d "
            "for this run%s. A container gets more with docker run --shm-size=2g (or --ipc=host).",
            wanted, needed(wanted) / 1e6, SHARED_MEMORY, free / FREE_SHARE / 1e6, fitting,
            "" if fitting else ", which reads in the training process and is slower",
        )  # fmt: skip
    return fitting


def end_when_a_batch_is_lost(worker: int) -> None:
    """A DataLoader's `worker_init_fn`: a worker that cannot hand a batch over ends, and the training with it.

    Python would only print why, and the training would wait for that batch without end.
    """
    # A private door of multiprocessing: it calls this in the thread that sends.
    Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end(error: Exception, batch: Any) -> None:
    print(f"A batch could not be handed over: {error}", file=sys.stderr, flush=True)
    os._exit(1)


@contextmanager
def lost_workers_told() -> Iterator[None]:
    """Turns torch's error about a worker that was killed, or found no shared memory, into RunStopped.

    torch raises it wherever the training happens to be when the signal comes, so it may be the cause of another error:
    a checkpoint that could not be written, say.
    """
    try:
        yield
    except Exception as error:
        found = list(LOST.finditer("\n".join(_texts(error))))
        if not found:
            raise
        signal = next((f" (killed by signal: {one[1].strip()})" for one in found if one[1]), "")
        how = signal or next((f" ({one[2]})" for one in found if one[2]), "")
        shared = f", or the shared memory ({SHARED_MEMORY})" if SHARED_MEMORY.is_dir() else ""
        container = "; a container gets more with docker run --shm-size=2g" if shared else ""
        raise RunStopped(
            f"A process that reads images was lost{how}. Most often the memory was not enough{shared}: lower "
            "data.num_workers (in src.predict num_workers; 0 reads without such processes) or the batch size"
            f"{container}. Checkpoints are unharmed: resume=<run dir> goes on."
        ) from error


def _texts(error: BaseException | None) -> list[str]:
    """Of an error and of those that led to it."""
    texts: list[str] = []
    while error is not None and len(texts) < MAX_CAUSES:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return texts
