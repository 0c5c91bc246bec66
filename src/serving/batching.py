"""Images that arrive together are computed together, by one thread."""

import logging
import queue
import threading
import time
from concurrent.futures import Future
from typing import Any

from src.serving.metrics import ServiceMetrics
from src.serving.pixels import Pixels, Size
from src.serving.served_model import ServedModel
from src.settings.plurals import number_of

log = logging.getLogger(__name__)

Answer = dict[str, Any]
Item = tuple[Pixels, Size, "Future[Answer]"]


class ComputeError(Exception):
    """A batch could not be computed, or nobody is there to compute it. The log says why."""


class Batcher:
    """A queue of images, and the thread that computes them, `batch_size` at a time at most.

    An image waits up to `wait_seconds` for others. While one batch is computed the next one gathers, so under load
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
        self.computing_since: float | None = None  # time.monotonic() when the batch began that is computed now
        self._ended = False  # whether nobody takes from the queue any more
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self._thread.start()

    def submit(self, pixels: Pixels, size_wh: Size) -> "Future[Answer]":
        """The answer to come, for an image uint8 [3, H, W] as of `read_pixels`; a ComputeError if there is none."""
        future: Future[Answer] = Future()
        self._queue.put((pixels, size_wh, future))
        if self._ended:  # looked at after the image is in the queue: one of the two sees it
            self._refuse_all()
        return future

    def trouble(self, timeout_seconds: float) -> str:
        """Why images cannot be computed at present; an empty string if they can.

        A batch that takes longer than `timeout_seconds` counts: nobody waits for its answers any more.
        """
        since = self.computing_since
        if self._ended or not self._thread.is_alive():
            return "The thread that computes has ended: start the service anew."
        if since is not None and time.monotonic() - since > timeout_seconds:
            return f"The model has been computing one batch for more than timeout_seconds={timeout_seconds:g}."
        return "The last batch could not be computed: the log says why." if self.failing else ""

    def close(self, timeout_seconds: float | None = None) -> None:
        """Compute what is in the queue, and end; wait no longer than this for a device that does not answer."""
        self._queue.put(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException:
            log.exception("The thread that computes has ended.")
        finally:
            self._ended = True
            self._refuse_all()

    def _refuse_all(self) -> None:
        """Nobody will compute what waits: say so now, instead of letting it time out."""
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if item is not None and item[2].set_running_or_notify_cancel():
                item[2].set_exception(ComputeError("the thread that computes has ended"))

    def _work(self) -> None:
        last = False
        while not last and (first := self._queue.get()) is not None:
            batch = [first]
            try:
                last = self._gather(batch)
            finally:
                self._compute([item for item in batch if item[2].set_running_or_notify_cancel()])

    def _gather(self, batch: list[Item]) -> bool:
        """Add what comes in time; True if nothing will come after it."""
        deadline = time.monotonic() + self.wait_seconds
        while len(batch) < self.batch_size:
            try:
                item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if item is None:
                return True
            batch.append(item)
        return False

    def _compute(self, batch: list[Item]) -> None:
        """Whatever is raised goes to those who wait, and the thread lives on."""
        if not batch:
            return
        start = time.perf_counter()
        self.computing_since = time.monotonic()
        try:
            outputs = self.model.compute([pixels for pixels, _, _ in batch], [size_wh for _, size_wh, _ in batch])
            found = self.model.answers(outputs, self.abstain_below, self.top_k)
            if len(found) != len(batch):
                raise ValueError(f"{len(found)} answers for {len(batch)} images")
            self.metrics.computed(self.model.facts, outputs, time.perf_counter() - start)
            self.failing = False
            for (_, _, future), answer in zip(batch, found, strict=True):
                future.set_result(answer)
        except BaseException as error:
            log.exception("A batch of %s could not be computed.", number_of(len(batch), "image"))
            self.failing = True
            for _, _, future in batch:
                if not future.done():
                    # Of our own kind: asyncio ends the whole service for a SystemExit, and drops a StopIteration.
                    future.set_exception(ComputeError(repr(error)))
        finally:
            self.computing_since = None
