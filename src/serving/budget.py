"""How many pixels may be in memory at once while images are decoded, over all threads."""

import ctypes
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# What an image takes while it is decoded, in shares of an image of the other formats. docs/serve.md has the numbers.
WEIGHTS = {"JPEG2000": 2}

# Options of mallopt in malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def give_freed_memory_back() -> None:
    """Let the C library return the pixels of an image to the system once they are freed.

    glibc takes ever larger blocks from pools of each thread instead, which do not shrink, once such a block was freed:
    eight threads kept 4 GB after images of 50 megapixels. Pillow's blocks have 16 MiB. Does nothing elsewhere.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_THRESHOLD, 8 << 20)
            mallopt(M_TRIM_THRESHOLD, 32 << 20)


class DecodingBudget:
    """A number of megapixels that threads share; who asks first is served first, so that large images get their turn.

    A thread that holds a share never asks for another one, so nobody waits for good.
    """

    def __init__(self, megapixels: float) -> None:
        self.total = max(1, int(megapixels * 1e6))
        self.taken = 0
        self.waiting: deque[object] = deque()
        self.changed = threading.Condition()

    @contextmanager
    def share(self, size_px: tuple[int, int], kind: str | None = None) -> Iterator[None]:
        """Room for an image of this width, height and format (Pillow's name) as long as the block lasts.

        Waits until there is that much. An image of more than the whole budget gets all of it, and is then alone.
        """
        wanted = min(self.total, size_px[0] * size_px[1] * WEIGHTS.get(kind or "", 1))
        ticket = object()
        with self.changed:
            self.waiting.append(ticket)
            try:
                self.changed.wait_for(lambda: self.waiting[0] is ticket and self.taken + wanted <= self.total)
                self.taken += wanted
            finally:
                self.waiting.remove(ticket)
                self.changed.notify_all()
        try:
            yield
        finally:
            with self.changed:
                self.taken -= wanted
                self.changed.notify_all()
