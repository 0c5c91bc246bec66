"""A small HTTP service that answers for images, with a page to try it. docs/serve.md has examples.

python -m src.serve ckpt=<run dir or .ckpt> | model=<model.onnx or model.pt2> [host=127.0.0.1] [port=8000]
"""

import asyncio
import logging

from omegaconf import DictConfig

from src.cli.command import Command, importing
from src.files.printable import printable
from src.serving.checks import address, bind, check_limits, check_model, most_connections, packages_needed

log = logging.getLogger(__name__)


def serve(cfg: DictConfig) -> None:
    """Answer until SIGTERM or Ctrl-C, then finish the requests that are there, and end with status 0."""
    check_model(cfg.ckpt, cfg.model)
    check_limits(cfg.max_images, cfg.max_pending, cfg.max_megapixels, cfg.decode_megapixels)
    with packages_needed():
        from src.data.workers import available_workers
        from src.predicting.output import require_confidence
        from src.serving.app import Service
        from src.serving.batching import Batcher
        from src.serving.connections import Gate, run, start
        from src.serving.metrics import ServiceMetrics
        from src.serving.models import load_model
        from src.serving.origins import check_hosts, names_to_ask_for
        from src.serving.uploads import Limits

    check_hosts(cfg.allowed_hosts or ())
    listener = bind(cfg.host, cfg.port)  # before the model is loaded: a port that is taken is told at once
    with importing():
        model = load_model(cfg.ckpt, cfg.model, cfg.accelerator, cfg.trust, cfg.score_threshold)
    require_confidence(model.prediction.can_abstain, cfg.abstain_below)
    metrics = ServiceMetrics(model.facts)
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
    service = Service(model, batcher, metrics, limits, cfg.decode_threads or available_workers())
    names, gate = names_to_ask_for(cfg.host, cfg.allowed_hosts), Gate(limits.max_connections, limits.timeout_seconds)
    server = start(service.app(names), listener, gate)
    log.info("Model: %s, %s, %s", printable(model.facts.file), printable(model.facts.backbone), model.choice)
    log.info("Listening on %s: a page to try it, POST /predict, /health, /model, /metrics", address(listener))
    try:
        asyncio.run(run(server, listener, gate))
    finally:
        service.close()
    log.info("Stopped.")


main = Command(serve, "serve").main

if __name__ == "__main__":
    main()
