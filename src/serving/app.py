"""The HTTP side of src.serve: what is accepted, what is refused and how, and the answers as JSON."""

import asyncio
import base64
import hashlib
import logging
import re
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from src.data.decode import UnreadableImage
from src.files.printable import printable
from src.serving.batching import Batcher, ComputeError
from src.serving.metrics import ServiceMetrics
from src.serving.origins import OwnSiteOnly
from src.serving.pixels import DecodingBudget, read_pixels
from src.serving.served_model import ServedModel
from src.serving.uploads import BUSY, Limits, read_uploads
from src.settings.plurals import number_of

log = logging.getLogger(__name__)

PAGE_FILE = Path(__file__).with_name("page.html")
FAILED = {"error": "The service failed; its log says why."}


class Service:
    """The routes. Everything but decoding and computing happens on the event loop, so counting needs no locks."""

    def __init__(
        self, model: ServedModel, batcher: Batcher, metrics: ServiceMetrics, limits: Limits, decode_threads: int
    ) -> None:
        self.model, self.batcher, self.metrics, self.limits = model, batcher, metrics, limits
        self.pool = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self.budget = DecodingBudget(limits.decode_megapixels)
        self.pending = 0  # images of all requests that are not answered yet; at least one a request
        self.page = PAGE_FILE.read_text(encoding="utf-8").replace("{choice}", model.choice)
        self.page_headers = {"Content-Security-Policy": policy_of(self.page), "Referrer-Policy": "same-origin"}

    def app(self, hosts: Iterable[str] | None) -> ASGIApp:
        """`hosts` as in OwnSiteOnly."""
        routes = Starlette(
            routes=[
                Route("/", self.show_page),
                Route("/predict", self.predict, methods=["POST"]),
                Route("/health", self.health),
                Route("/model", self.describe),
                Route("/metrics", self.show_metrics),
            ],
            exception_handlers={HTTPException: refusal},
        )
        return OwnSiteOnly(routes, hosts)

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
        self.batcher.close(self.limits.timeout_seconds)

    async def show_page(self, _: Request) -> Response:
        return HTMLResponse(self.page, headers=self.page_headers)

    async def health(self, _: Request) -> Response:
        """503 as long as images cannot be computed: a broken GPU does not recover by itself."""
        facts = self.model.facts
        trouble = self.batcher.trouble(self.limits.timeout_seconds)
        content = {
            "status": "failing" if trouble else "ready",
            **({"reason": trouble} if trouble else {}),
            "model": facts.file,
            "task": facts.task,
            "backbone": facts.backbone,
            "classes": len(facts.class_names),
            "pending": self.pending,
        }
        return JSONResponse(content, status_code=503 if trouble else 200)

    async def describe(self, _: Request) -> Response:
        content = asdict(self.model.facts)
        content["preprocessing"] = self.model.facts.preprocessing.as_dict()
        content["palette"] = self.model.prediction.palette(self.model.facts.class_names)
        content["limits"] = asdict(self.limits)
        return JSONResponse(content)

    async def show_metrics(self, _: Request) -> Response:
        self.metrics.pending.set(self.pending)
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def predict(self, request: Request) -> Response:
        """{"results": [...]}, one for each image, in the order of the upload; {"error": ...} if it is refused."""
        start = time.perf_counter()
        try:
            response = await self.answer(request)
        except HTTPException as refused:
            response = await refusal(request, refused)
        except ClientDisconnect:
            response = JSONResponse({"error": "The upload was aborted."}, 400)  # nobody reads it; it is counted
        except ComputeError:  # told in the log by the thread that computes
            response = JSONResponse(FAILED, 500)
        except Exception:  # its text may have the name of an uploaded file
            log.error("A request could not be answered.\n%s", printable(traceback.format_exc()))
            response = JSONResponse(FAILED, 500)
        self.metrics.requests.labels(str(response.status_code)).inc()
        self.metrics.request_seconds.observe(time.perf_counter() - start)
        return response

    async def answer(self, request: Request) -> Response:
        reserved, uploads, seconds = 0, list[UploadFile](), self.limits.timeout_seconds
        try:
            reserved += self.reserve(1)
            try:
                async with asyncio.timeout(seconds):
                    uploads = await read_uploads(request, self.limits)
            except TimeoutError:
                raise HTTPException(408, f"The upload took longer than timeout_seconds={seconds:g}.") from None
            reserved += self.reserve(len(uploads) - 1)
            try:
                async with asyncio.timeout(seconds):
                    results = await asyncio.gather(*(self.result_of(upload) for upload in uploads))
            except TimeoutError:
                raise HTTPException(503, f"No answer within timeout_seconds={seconds:g}.", BUSY) from None
        finally:
            self.pending -= reserved
            for upload in uploads:
                await upload.close()
        return JSONResponse({"results": results}, 422 if all("error" in result for result in results) else 200)

    def reserve(self, images: int) -> int:
        """Count images as waiting. Raises HTTPException 503 if too many are."""
        if self.pending + images > self.limits.max_pending:
            raise HTTPException(
                503, f"Busy: {number_of(self.pending, 'image is', 'images are')} waiting. Try again.", BUSY
            )
        self.pending += images
        return images

    async def result_of(self, upload: UploadFile) -> dict[str, Any]:
        """The name of the file, and the model's answer or why there is none."""
        name, model, held = upload.filename or "", self.model, ExitStack()
        settings = (model.facts.preprocessing, model.size_px, self.limits.max_megapixels, self.budget)
        # Answers as large as their images are bounded as these are: until one is there, it keeps its share.
        keeping = held if model.prediction.of_pixels or model.takes_whole else None
        reading = self.pool.submit(read_pixels, upload.file, *settings, model.takes_whole, keeping)
        try:
            found = await asyncio.wrap_future(reading)
            answer = await asyncio.wrap_future(self.batcher.submit(*found))
        except UnreadableImage as error:
            self.metrics.unreadable.inc()
            return {"name": name, "error": str(error)}
        finally:
            reading.add_done_callback(lambda _: held.close())  # at once, or when a reading that timed out has ended
        says_where = model.finds_objects or model.prediction.of_pixels
        size = dict(zip(("width", "height"), found[1], strict=True)) if says_where else {}
        return {"name": name, **size, **answer}


async def refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def policy_of(page: str) -> str:
    """Content-Security-Policy that lets nothing but the page's own script run, and nothing be loaded from elsewhere."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src blob: data:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
