"""Where a service listens, and by which names it may be asked."""

import errno
import logging
import os
import socket
from collections.abc import Sequence

from src.settings.errors import ConfigError

log = logging.getLogger(__name__)


def names_to_ask_for(host: str, allowed: Sequence[str] | None) -> list[str] | None:
    """Names that a request may ask for, besides localhost and the like; None = any."""
    if allowed is not None:
        return list(allowed)
    return [socket.gethostname()] if is_local(host) else None


def bind(host: str, port: int) -> socket.socket:
    """A socket at this address, on which nobody listens yet. Raises ConfigError if it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio switches Nagle's algorithm off only if the protocol is named: answers took 40 ms longer without it.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name == "posix":  # under Windows it would let two services have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port={port} is in use already: give another one, or port=0 for any.") from error
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(f"host='{host}' is no address of this machine: {error.strerror}.") from error
        raise ConfigError(f"host='{host}' port={port} cannot be used: {error.strerror}.") from error
    if not is_local(host):
        log.warning("host=%s lets everybody in that network use it: there is no password and no encryption.", host)
    return listener


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
