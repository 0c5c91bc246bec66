"""A small HTTP service that answers for images, with a page to try it. docs/serve.md has examples.

python -m src.serve ckpt=<run dir or .ckpt> | model=<model.onnx or model.pt2> [host=127.0.0.1] [port=8000]
"""

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from src.cli.command import command, importing
from src.files.printable import printable
from src.settings.errors import ConfigError

log = logging.getLogger(__name__)


def serve(cfg: DictConfig) -> None:
    """Answer until SIGTERM or Ctrl-C, then finish the requests that are there, and end with status 0."""
    check_model(cfg)
    check_limits(cfg)
    try:
        import python_multipart  # noqa: F401 - Starlette would miss it only when a form comes

        from src.serving.app import Service
        from src.serving.batching import Batcher
        from src.serving.budget import give_freed_memory_back
        from src.serving.connections import BACKLOG, Gate, http_server, most_connections, run
        from src.serving.metrics import ServiceMetrics
        from src.serving.models import load_model
        from src.serving.origins import check_hosts
        from src.serving.uploads import Limits
    except ImportError as error:
        raise ConfigError(
            f"python -m src.serve needs the package {error.name}, which is not installed: uv sync --extra serve "
            "(or pip install starlette uvicorn python-multipart prometheus-client onnxruntime)."
        ) from error

    check_hosts(cfg.allowed_hosts or ())
    give_freed_memory_back()
    listener = bind(cfg.host, cfg.port)  # before the model is loaded: a port that is taken is told at once
    with importing():
        model = load_model(cfg.ckpt, cfg.model, cfg.accelerator, cfg.trust)
    facts = model.facts
    if cfg.abstain_below is not None and facts.task != "classification":
        raise ConfigError(
            f"abstain_below={cfg.abstain_below:g} compares the confidence of one class per image, and this model "
            "answers otherwise: leave it null."
        )
    metrics = ServiceMetrics(facts)
    batcher = Batcher(model, metrics, cfg.batch_size, cfg.batch_wait_ms / 1000, cfg.abstain_below, cfg.top_k)
    limits = Limits(
        max_upload_mb=cfg.max_upload_mb,
        max_images=cfg.max_images,
        max_megapixels=cfg.max_megapixels,
        max_pending=cfg.max_pending,
        max_connections=most_connections(cfg.max_connections, cfg.max_pending),
        timeout_seconds=cfg.timeout_seconds,
        decode_megapixels=cfg.decode_megapixels or 2 * cfg.max_megapixels,
    )
    if cfg.max_connections is not None and limits.max_connections < cfg.max_connections:
        log.warning(
            "max_connections=%d: the limit of open files (ulimit -n) leaves room for %d.",
            cfg.max_connections, limits.max_connections,
        )  # fmt: skip
    service = Service(model, batcher, metrics, limits, cfg.decode_threads or min(8, cores()))
    gate = Gate(limits.max_connections, limits.timeout_seconds)
    server = http_server(service.app(hosts(cfg.host, cfg.allowed_hosts)), gate)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn does the same while it runs, and afterwards raises them again: ending by them is no failure here.
        signal.signal(number, server.handle_exit)
    listener.listen(BACKLOG)  # from now on connections wait instead of being refused
    kind = {"classification": "one of", "multilabel": "any of", "regression": "numbers:"}[facts.task]
    log.info("Model: %s, %s, %s %d", printable(facts.file), printable(facts.backbone), kind, len(facts.class_names))
    log.info("Listening on %s: a page to try it, POST /predict, /health, /model, /metrics", address(listener))
    if not is_local(cfg.host):
        log.warning("host=%s lets everybody in that network use it: there is no password and no encryption.", cfg.host)
    try:
        asyncio.run(run(server, listener, gate))
    finally:
        service.close()
    log.info("Stopped.")


def hosts(host: str, allowed: Sequence[str] | None) -> list[str] | None:
    """Names that a request may ask for, besides localhost and the like; None = any."""
    if allowed is not None:
        return list(allowed)
    return [socket.gethostname()] if is_local(host) else None


def check_model(cfg: DictConfig) -> None:
    """Raise ConfigError unless one model is named, by a setting that goes with its kind."""
    if (cfg.ckpt is None) == (cfg.model is None):
        raise ConfigError(
            "Give either ckpt=<run dir or .ckpt> or model=<model.onnx or model.pt2>"
            + (", not both." if cfg.ckpt is not None else ".")
        )
    if cfg.ckpt is not None and Path(cfg.ckpt).suffix in (".onnx", ".pt2"):
        raise ConfigError(f"ckpt='{cfg.ckpt}' is an exported file: give model={cfg.ckpt}.")
    if cfg.model is not None:
        file = Path(cfg.model).expanduser()
        if file.is_dir() or file.suffix == ".ckpt":
            raise ConfigError(f"model='{cfg.model}' is a run or a checkpoint: give ckpt={cfg.model}.")
        if file.suffix not in (".onnx", ".pt2"):
            raise ConfigError(f"model='{cfg.model}' is neither an .onnx nor a .pt2 file, as src.export writes them.")


def check_limits(cfg: DictConfig) -> None:
    """Raise ConfigError where one limit makes another one meaningless."""
    if cfg.max_images > cfg.max_pending:
        raise ConfigError(
            f"max_images={cfg.max_images} is more than max_pending={cfg.max_pending}: such a request could never "
            "be answered. Raise max_pending."
        )
    if cfg.decode_megapixels is not None and cfg.decode_megapixels < cfg.max_megapixels:
        raise ConfigError(
            f"decode_megapixels={cfg.decode_megapixels:g} is less than max_megapixels={cfg.max_megapixels:g}, which "
            "one image may have: raise the former, or lower the latter."
        )


def bind(host: str, port: int) -> socket.socket:
    """A socket at this address, on which nobody listens yet. Raises ConfigError if it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio switches Nagle's algorithm off only if the protocol is named: answers took 40 ms longer without it.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port={port} is in use already: give another one, or port=0 for any.") from error
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(f"host='{host}' is no address of this machine: {error.strerror}.") from error
        raise ConfigError(f"host='{host}' port={port} cannot be used: {error.strerror}.") from error
    return listener


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


main = command("serve")(serve)

if __name__ == "__main__":
    main()
