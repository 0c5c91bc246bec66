"""What can be told before a model is loaded: mistakes in the settings of src.serve, and whether it has its address."""

import errno
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from src.settings.errors import ConfigError

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 1024
OTHER_FILES = 64  # open files that are neither connections nor uploads: libraries, devices, the log


def check_model(ckpt: str | Sequence[str] | None, model: str | None) -> None:
    """Raise ConfigError unless one model is named, by a setting that goes with its kind."""
    if (ckpt is None) == (model is None):
        raise ConfigError(
            "Give either ckpt=<run dir or .ckpt> or model=<model.onnx or model.pt2>"
            + (", not both." if ckpt is not None else ".")
        )
    if isinstance(ckpt, str) and Path(ckpt).suffix in (".onnx", ".pt2"):
        raise ConfigError(f"ckpt='{ckpt}' is an exported file: give model={ckpt}.")
    if model is not None:
        file = Path(model).expanduser()
        if file.is_dir() or file.suffix == ".ckpt":
            raise ConfigError(f"model='{model}' is a run or a checkpoint: give ckpt={model}.")
        if file.suffix not in (".onnx", ".pt2"):
            raise ConfigError(f"model='{model}' is neither an .onnx nor a .pt2 file, as src.export writes them.")


def check_limits(max_images: int, max_pending: int, max_megapixels: float, decode_megapixels: float | None) -> None:
    """Raise ConfigError where one limit makes another one meaningless."""
    if max_images > max_pending:
        raise ConfigError(
            f"max_images={max_images} is more than max_pending={max_pending}: such a request could never "
            "be answered. Raise max_pending."
        )
    if decode_megapixels is not None and decode_megapixels < max_megapixels:
        raise ConfigError(
            f"decode_megapixels={decode_megapixels:g} is less than max_megapixels={max_megapixels:g}, which "
            "one image may have: raise the former, or lower the latter."
        )


def most_connections(wanted: int | None, max_pending: int) -> int:
    """What `max_connections` comes to: as wanted, but so few that files are left for `max_pending` uploads."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return wanted or MOST_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    room = max(16, 1 << 20 if files == resource.RLIM_INFINITY else files - max_pending - OTHER_FILES)
    if wanted is not None and room < wanted:
        log.warning("max_connections=%d: the limit of open files (ulimit -n) leaves room for %d.", wanted, room)
    return min(wanted or MOST_CONNECTIONS, room)


@contextmanager
def packages_needed() -> Iterator[None]:
    """For imports. Raises ConfigError, which says what to install, if one of them fails."""
    try:
        import python_multipart  # noqa: F401 - Starlette would miss it only when a form comes

        yield
    except ImportError as error:
        raise ConfigError(
            f"python -m src.serve needs the package {error.name}, which is not installed: uv sync --extra serve "
            "(or pip install starlette uvicorn python-multipart prometheus-client onnxruntime)."
        ) from error


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
