"""The processes that read images (workers of a DataLoader): how many fit, and how one of them ends. No torch."""

import logging
import os
import shutil
import signal
import sys
from multiprocessing.queues import Queue
from pathlib import Path
from threading import Thread
from typing import Any

from src.settings.plurals import number_of

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")  # Linux; through it batches come from the workers
FREE_SHARE = 0.9  # of what is free there may be needed
PREFETCHED = 2  # batches that each worker holds ready (DataLoader's default)
IN_USE = 2  # batches that the training process has taken already
SMALLEST_BYTES = 2**16  # that a worker needs there in any case, for its queues


def available_workers() -> int:
    """One that reads images for each core that this process may use, up to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)


def workers_that_fit(
    wanted: int, batch_bytes: int = SMALLEST_BYTES, batches: int | None = None, processes: int = 1
) -> int:
    """At most `wanted`, so that what they hold ready fits into shared memory; a warning says if they are fewer.

    In a full one they would be killed or, worse, a batch be lost that the training waits for without end.

    There are so many `batches` (None = any number) of `batch_bytes` each; each of the `processes` of the training on
    this machine has so many workers.
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
            "%s %.1f MB of shared memory, and %s has %.1f MB free: data.num_workers=%d "
            "for this run%s. A container gets more with docker run --shm-size=2g (or --ipc=host).",
            number_of(wanted, "process that reads images needs", "processes that read images need"),
            needed(wanted) / 1e6, SHARED_MEMORY, free / FREE_SHARE / 1e6, fitting,
            "" if fitting else ", which reads in the training process and is slower",
        )  # fmt: skip
    return fitting


def begin_worker(worker: int) -> None:
    """A DataLoader's `worker_init_fn`."""
    _end_when_a_batch_is_lost()
    _end_with_the_training()


def _end_when_a_batch_is_lost() -> None:
    """A worker that cannot hand a batch over ends, and the training with it.

    Python would only print why, and the training would wait for that batch without end.
    """
    # A private door of multiprocessing: it calls this in the thread that sends.
    Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end_with_the_training() -> None:
    """Signals are for the training: who sends one to a whole group of processes wants it to save, and until then it
    needs its workers.

    SIGTERM is heeded from the training alone, which so ends a worker that hangs; not under macOS, where nobody can tell
    who sent it.
    """
    for name in ("SIGUSR1", "SIGBREAK"):
        if hasattr(signal, name):  # each system has its own
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # of this thread, and of those that it starts
        Thread(target=_wait_for_the_training, daemon=True).start()


def _wait_for_the_training() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


def _end(error: Exception, batch: Any) -> None:
    print(f"A batch could not be handed over: {error}", file=sys.stderr, flush=True)
    os._exit(1)
