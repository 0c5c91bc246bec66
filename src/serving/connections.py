"""uvicorn as the service runs it, from listening to the last answer after it was told to stop.

Connections that send nothing, or never end, or never read: none of them is held for long, nor keeps others out.
uvicorn bounds the time between two requests (timeout_keep_alive) and nothing else. The rest is here, in a subclass of
its class for one connection. It uses what uvicorn does not document (on_response_complete, and the attributes
connections, cycle, flow, loop and transport); tests fail when that changes.
"""

import asyncio
import json
import logging
import math
import signal
import socket
import time
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from src.serving.pixels import give_freed_memory_back

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 5  # between two requests on one connection
BACKLOG = 128  # connections that the system holds for us until they are accepted
QUIET_SECONDS = 60  # between two log lines that say the same
FULL = "Busy: there are too many connections. Try again."


class Gate:
    """What the connections of a service share: how many there may be, and who among them could go first.

    `idle` are those on which no request is being answered, the longest first: silent ones, those in the middle of their
    headers, those between two requests, and those that do not read their answer.
    """

    def __init__(self, most: int, timeout_seconds: float) -> None:
        self.most, self.timeout_seconds = most, timeout_seconds
        self.idle: dict[GuardedProtocol, None] = {}
        self.seldom = Seldom()

    def protocol(self) -> type["GuardedProtocol"]:
        """A class of connections of this gate, as uvicorn.Config(http=...) takes it."""

        class OfThisGate(GuardedProtocol):
            gate = self

        return OfThisGate


class GuardedProtocol(H11Protocol):
    """One connection: from its beginning, or from its last answer, to the end of the next request's headers it has
    `timeout_seconds`, then it is cut, whatever it sends meanwhile. So is one that does not take its answer for so long.

    Where there is no room for one more, the idle connection that has waited longest is cut to make some.
    """

    gate: Gate

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.deadline: asyncio.TimerHandle | None = None

    # Called by asyncio and uvicorn:

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.start_waiting()
        if len(self.connections) <= self.gate.most:
            return
        self.gate.seldom.warn(log, "There are more than %d connections: idle ones are closed.", self.gate.most)
        longest = next(iter(self.gate.idle))
        if longest is self:  # all others are being answered
            self.refuse()
        else:
            longest.cut()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.start_waiting()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stop_waiting()
        self.look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.stop_waiting()

    # Our own:

    def look(self) -> None:
        """Wait for the client, or let it wait, as it stands."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering:
            self.start_waiting()
        elif not self.flow.write_paused:
            self.stop_waiting()

    def start_waiting(self) -> None:
        """Until now + timeout_seconds, unless that runs already."""
        if self.deadline is None:
            self.deadline = self.loop.call_later(self.gate.timeout_seconds, self.cut)
            self.gate.idle[self] = None

    def stop_waiting(self) -> None:
        self.gate.idle.pop(self, None)
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def cut(self) -> None:
        """Not `close`, which waits until the client has read all that was written."""
        self.gate.idle.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def refuse(self) -> None:
        body = json.dumps({"error": FULL}).encode()
        self.transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Retry-After: 1\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        )
        self.connections.discard(self)
        self.transport.close()


class Seldom:
    """Says the same thing, by its text without the values, once in QUIET_SECONDS at most."""

    def __init__(self) -> None:
        self.said: dict[str, float] = {}

    def warn(self, logger: logging.Logger, text: str, *values: object) -> None:
        now = time.monotonic()
        if now - self.said.get(text, -QUIET_SECONDS) >= QUIET_SECONDS:
            self.said[text] = now
            logger.warning(text, *values)


def start(app: ASGIApp, listener: socket.socket, gate: Gate) -> uvicorn.Server:
    """A server that SIGTERM and Ctrl-C end; from now on connections wait instead of being refused."""
    give_freed_memory_back()
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=gate.protocol(),
        ws="none",
        lifespan="off",
        log_config=None,  # our own log lines
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        headers=[("X-Content-Type-Options", "nosniff")],
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(gate.timeout_seconds),
    )
    server = uvicorn.Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn does the same while it runs, and afterwards raises them again: ending by them is no failure here.
        signal.signal(number, server.handle_exit)
    listener.listen(BACKLOG)
    return server


async def run(server: uvicorn.Server, listener: socket.socket, gate: Gate) -> None:
    """Serve until it is told to stop. What asyncio reports of the network is said once per minute at most:
    where no more files can be opened it reports that hundreds of times per second."""

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(error := context.get("exception"), OSError):
            gate.seldom.warn(log, "The network: %s (%s).", context.get("message", ""), error.strerror or error)
        else:
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(report)
    await server.serve(sockets=[listener])
