"""Pictures that arrive together are computed together, by one thread."""

import logging
import queue
import threading
import time
from concurrent.futures import Future
from typing import Any

import numpy as np

from src.service.answers import answers
from src.service.metrics import ServiceMetrics
from src.service.models import ServedModel
from src.service.pixels import Pixels

log = logging.getLogger("src.service.batching")

Answer = dict[str, Any]


class Batcher:
    """A queue of pictures, and the thread that computes them, `batch_size` at a time at most.

    A picture waits up to `wait_seconds` for others. While one batch is computed the next one gathers, so under load
    batches are full without any waiting.
    """

    def __init__(
        self,
        model: ServedModel,
        metrics: ServiceMetrics,
        batch_size: int,
        wait_seconds: float,
        abstain_below: float | None = None,
        top_k: int | None = None,
    ) -> None:
        self.model, self.metrics = model, metrics
        self.batch_size, self.wait_seconds = batch_size, wait_seconds
        self.abstain_below, self.top_k = abstain_below, top_k
        self.failing = False  # whether the last batch could not be computed, as after an error of the GPU
        self._queue: queue.SimpleQueue[tuple[Pixels, Future[Answer]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self._thread.start()

    def submit(self, pixels: Pixels) -> "Future[Answer]":
        """The answer to come, for a picture uint8 [3, H, W] of the model's size."""
        future: Future[Answer] = Future()
        self._queue.put((pixels, future))
        return future

    def close(self) -> None:
        """Compute what is in the queue, and end."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        last = False
        while not last and (first := self._queue.get()) is not None:
            batch, deadline = [first], time.monotonic() + self.wait_seconds
            while len(batch) < self.batch_size:
                try:
                    item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
                if item is None:
                    last = True
                    break
                batch.append(item)
            wanted = [(pixels, future) for pixels, future in batch if future.set_running_or_notify_cancel()]
            if wanted:
                self._compute(wanted)

    def _compute(self, batch: list[tuple[Pixels, "Future[Answer]"]]) -> None:
        start = time.perf_counter()
        try:
            outputs = self.model.compute(np.stack([pixels for pixels, _ in batch]))
            found = answers(self.model.facts, outputs, self.abstain_below, self.top_k)
            self.failing = False
        except Exception as error:
            log.exception("A batch of %d pictures could not be computed.", len(batch))
            self.failing = True
            for _, future in batch:
                future.set_exception(error)
            return
        self.metrics.computed(self.model.facts, outputs, time.perf_counter() - start)
        for (_, future), answer in zip(batch, found, strict=True):
            future.set_result(answer)
