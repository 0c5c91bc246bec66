"""A small HTTP service that answers for pictures, with a page to try it. docs/serve.md has examples.

python -m src.serve ckpt=<run dir or .ckpt> | model=<model.onnx or model.pt2> [host=127.0.0.1] [port=8000]
"""

import errno
import logging
import math
import os
import signal
import socket
from pathlib import Path

from omegaconf import DictConfig

from src.cli import command, importing
from src.errors import ConfigError

log = logging.getLogger("src.serve")


def serve(cfg: DictConfig) -> None:
    """Answer until SIGTERM or Ctrl-C, then finish the requests that are there, and end with status 0."""
    check_model(cfg)
    if cfg.max_pictures > cfg.max_pending:
        raise ConfigError(
            f"max_pictures={cfg.max_pictures} is more than max_pending={cfg.max_pending}: such a request could never "
            "be answered. Raise max_pending."
        )
    try:
        import python_multipart  # noqa: F401 - Starlette would miss it only when a form comes
        import uvicorn

        from src.service.app import Limits, Service
        from src.service.batching import Batcher
        from src.service.metrics import ServiceMetrics
        from src.service.models import load_model
    except ImportError as error:
        raise ConfigError(
            f"python -m src.serve needs the package {error.name}, which is not installed: uv sync --extra serve "
            "(or pip install starlette uvicorn python-multipart prometheus-client onnxruntime)."
        ) from error

    listener = bind(cfg.host, cfg.port)  # before the model is loaded: a port that is taken is told at once
    with importing():
        model = load_model(cfg.ckpt, cfg.model, cfg.accelerator, cfg.trust)
    facts = model.facts
    if cfg.abstain_below is not None and facts.task != "classification":
        raise ConfigError(
            f"abstain_below={cfg.abstain_below:g} compares the confidence of one class a picture, and this model "
            "answers otherwise: leave it null."
        )
    metrics = ServiceMetrics(facts)
    batcher = Batcher(model, metrics, cfg.batch_size, cfg.batch_wait_ms / 1000, cfg.abstain_below, cfg.top_k)
    limits = Limits(
        max_upload_mb=cfg.max_upload_mb,
        max_pictures=cfg.max_pictures,
        max_megapixels=cfg.max_megapixels,
        max_pending=cfg.max_pending,
        timeout_seconds=cfg.timeout_seconds,
    )
    service = Service(model, batcher, metrics, limits, cfg.decode_threads or min(8, cores()))
    config = uvicorn.Config(
        service.app(),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,  # our own log lines
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        headers=[("X-Content-Type-Options", "nosniff")],
        timeout_graceful_shutdown=math.ceil(cfg.timeout_seconds),
    )
    server = uvicorn.Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn does the same while it runs, and afterwards raises them again: ending by them is no failure here.
        signal.signal(number, server.handle_exit)
    listener.listen()  # from now on connections wait instead of being refused
    kind = {"classification": "one of", "multilabel": "any of", "regression": "numbers:"}[facts.task]
    log.info("Model: %s, %s, %s %d", facts.file, facts.backbone, kind, len(facts.class_names))
    log.info("Listening on %s: a page to try it, POST /predict, /health, /model, /metrics", address(listener))
    if not is_local(cfg.host):
        log.warning("host=%s lets everybody in that network use it: there is no password and no encryption.", cfg.host)
    try:
        server.run(sockets=[listener])
    finally:
        service.close()
    log.info("Stopped.")


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
