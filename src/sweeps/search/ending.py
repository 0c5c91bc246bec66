"""Signals that ask a search to end: they are heeded between two looks at its trials, and never within a write."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # of which each system has some


@contextmanager
def asked_to_end() -> Iterator[list[int]]:
    """The signals that have come so far; a list that grows. Those that were ignored before still are, as with nohup."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)

    signals = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    heeded = [one for one in signals if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, receive) for one in heeded}
    try:
        yield received
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
