"""uvicorn as the service runs it: from listening to the last answer after it was told to stop."""

import asyncio
import logging
import math
import signal
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from src.serving.connections import Gate
from src.serving.pixels import give_freed_memory_back

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 5  # between two requests on one connection
BACKLOG = 128  # connections that the system holds for us until they are accepted


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
