"""The HTTP side of src.serve: what is accepted, what is refused and how, and the answers as JSON."""

import asyncio
import base64
import hashlib
import logging
import re
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from src.data.decode import UnreadableImage
from src.service.batching import Batcher
from src.service.metrics import ServiceMetrics
from src.service.models import ServedModel
from src.service.pixels import read_pixels

log = logging.getLogger("src.service.app")

PAGE_FILE = Path(__file__).with_name("page.html")
SPOOLED_BYTES = 1 << 20  # of an upload are kept in memory, the rest in a temporary file, as Starlette does for forms
FORM_FIELDS = 100  # other fields of a form, which are ignored
RETRY_AFTER_SECONDS = 1
BUSY = {"Retry-After": str(RETRY_AFTER_SECONDS)}
PICTURE_TYPES = ("", "application/octet-stream")  # besides image/*


@dataclass(frozen=True)
class Limits:
    """See conf/serve.yaml."""

    max_upload_mb: float
    max_pictures: int
    max_megapixels: float
    max_pending: int
    timeout_seconds: float


class Service:
    """The routes. Everything but decoding and computing happens on the event loop, so counting needs no locks."""

    def __init__(
        self, model: ServedModel, batcher: Batcher, metrics: ServiceMetrics, limits: Limits, decode_threads: int
    ) -> None:
        self.model, self.batcher, self.metrics, self.limits = model, batcher, metrics, limits
        self.pool = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self.pending = 0  # pictures of all requests that are not answered yet; at least one a request
        self.page = PAGE_FILE.read_text(encoding="utf-8")
        self.page_headers = {"Content-Security-Policy": policy_of(self.page), "Referrer-Policy": "no-referrer"}

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self.show_page),
                Route("/predict", self.predict, methods=["POST"]),
                Route("/health", self.health),
                Route("/model", self.describe),
                Route("/metrics", self.show_metrics),
            ],
            exception_handlers={HTTPException: refusal},
        )

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
        self.batcher.close()

    # ------------------------------------------------------------------------------------------------------- answers

    async def show_page(self, _: Request) -> Response:
        return HTMLResponse(self.page, headers=self.page_headers)

    async def health(self, _: Request) -> Response:
        """503 as long as the last batch could not be computed: a broken GPU does not mend itself."""
        facts = self.model.facts
        status = "failing" if self.batcher.failing else "ready"
        content = {
            "status": status,
            "model": facts.file,
            "task": facts.task,
            "backbone": facts.backbone,
            "classes": len(facts.class_names),
            "pending": self.pending,
        }
        return JSONResponse(content, status_code=200 if status == "ready" else 503)

    async def describe(self, _: Request) -> Response:
        content = asdict(self.model.facts)
        content["preprocessing"] = self.model.facts.preprocessing.as_dict()
        content["limits"] = asdict(self.limits)
        return JSONResponse(content)

    async def show_metrics(self, _: Request) -> Response:
        self.metrics.pending.set(self.pending)
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def predict(self, request: Request) -> Response:
        """{"results": [...]}, one for each picture, in the order of the upload; {"error": ...} if it is refused."""
        start = time.perf_counter()
        try:
            response = await self.answer(request)
        except HTTPException as refused:
            response = await refusal(request, refused)
        except ClientDisconnect:
            response = JSONResponse({"error": "The upload was broken off."}, 400)  # nobody reads it; it is counted
        except Exception:
            log.exception("A request could not be answered.")
            response = JSONResponse({"error": "The service failed; its log says why."}, 500)
        self.metrics.requests.labels(str(response.status_code)).inc()
        self.metrics.request_seconds.observe(time.perf_counter() - start)
        return response

    async def answer(self, request: Request) -> Response:
        reserved, uploads = 0, list[UploadFile]()
        try:
            reserved += self.reserve(1)
            try:
                async with asyncio.timeout(self.limits.timeout_seconds):
                    uploads = await self.read_uploads(request)
            except TimeoutError:
                raise HTTPException(
                    408, f"The upload took longer than timeout_seconds={self.limits.timeout_seconds:g}."
                ) from None
            reserved += self.reserve(len(uploads) - 1)
            try:
                async with asyncio.timeout(self.limits.timeout_seconds):
                    results = await asyncio.gather(*(self.result_of(upload) for upload in uploads))
            except TimeoutError:
                raise HTTPException(
                    503, f"No answer within timeout_seconds={self.limits.timeout_seconds:g}.", BUSY
                ) from None
        finally:
            self.pending -= reserved
            for upload in uploads:
                await upload.close()
        return JSONResponse({"results": results}, 422 if all("error" in result for result in results) else 200)

    def reserve(self, pictures: int) -> int:
        """Count pictures as waiting. Raises HTTPException 503 if too many are."""
        if self.pending + pictures > self.limits.max_pending:
            raise HTTPException(503, f"Busy: {self.pending} pictures are waiting. Try again.", BUSY)
        self.pending += pictures
        return pictures

    async def result_of(self, upload: UploadFile) -> dict[str, Any]:
        """The name of the file, and the model's answer or why there is none."""
        name = upload.filename or ""
        try:
            pixels = await asyncio.get_running_loop().run_in_executor(
                self.pool,
                read_pixels,
                upload.file,
                self.model.facts.preprocessing,
                self.model.size_px,
                self.limits.max_megapixels,
            )
        except UnreadableImage as error:
            self.metrics.unreadable.inc()
            return {"name": name, "error": str(error)}
        answer = await asyncio.wrap_future(self.batcher.submit(pixels))
        return {"name": name, **answer}

    # ------------------------------------------------------------------------------------------------------- uploads

    async def read_uploads(self, request: Request) -> list[UploadFile]:
        """The pictures of a form, or the one that is the whole body. Raises HTTPException if there are none."""
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self.limits.max_upload_mb * 1e6:
            raise self.too_large()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            uploads = await self.read_form(request)
        elif kind in PICTURE_TYPES or kind.startswith("image/"):
            uploads = [await self.read_body(request)]
        else:
            raise HTTPException(
                415,
                f"Content-Type {kind[:100]} is not accepted: send multipart/form-data (curl -F file=@picture.jpg), or "
                "the picture itself as image/jpeg or the like (curl -H 'Content-Type: image/jpeg' --data-binary "
                "@picture.jpg).",
            )
        given = [upload for upload in uploads if upload.filename or upload.size]  # an empty field of a form is neither
        if not given:
            raise HTTPException(400, "There is no picture in the request.")
        return given

    async def read_form(self, request: Request) -> list[UploadFile]:
        parser = MultiPartParser(
            request.headers,
            self.limited(request),
            max_files=self.limits.max_pictures,
            max_fields=FORM_FIELDS,
        )
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if "Too many files" in error.message:
                raise HTTPException(413, f"More than max_pictures={self.limits.max_pictures} pictures.") from None
            raise HTTPException(400, f"The form cannot be read: {error.message}") from None
        return [value for _, value in form.multi_items() if isinstance(value, UploadFile)]

    async def read_body(self, request: Request) -> UploadFile:
        file = SpooledTemporaryFile(max_size=SPOOLED_BYTES)  # noqa: SIM115 - closed with the upload
        upload = UploadFile(cast(BinaryIO, file), size=0, filename=request.query_params.get("name"))
        try:
            async for chunk in self.limited(request):
                await upload.write(chunk)
        except BaseException:
            file.close()
            raise
        await upload.seek(0)
        return upload

    async def limited(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises HTTPException 413 as soon as it is too large."""
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > self.limits.max_upload_mb * 1e6:
                raise self.too_large()
            yield chunk

    def too_large(self) -> HTTPException:
        return HTTPException(413, f"The request is larger than max_upload_mb={self.limits.max_upload_mb:g}.")


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
