"""The images of a request, as files, within the limits."""

import errno
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

SPOOLED_BYTES = 1 << 20  # of an upload are kept in memory, the rest in a temporary file, as Starlette does for forms
FORM_FIELDS = 100  # other fields of a form, which are ignored
BUSY = {"Retry-After": "1"}
IMAGE_TYPES = ("", "application/octet-stream")  # besides image/*
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)


@dataclass(frozen=True)
class Limits:
    """See conf/serve.yaml; none of them is null here."""

    max_upload_mb: float
    max_images: int
    max_megapixels: float
    max_pending: int
    max_connections: int
    timeout_seconds: float
    decode_megapixels: float


async def read_uploads(request: Request, limits: Limits) -> list[UploadFile]:
    """The images of a form, or the one that is the whole body. Raises HTTPException if there are none."""
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limits.max_upload_mb * 1e6:
        raise too_large(limits)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            uploads = await read_form(request, limits)
        elif kind in IMAGE_TYPES or kind.startswith("image/"):
            uploads = [await read_body(request, limits)]
        else:
            raise HTTPException(
                415,
                f"Content-Type {kind[:100]} is not accepted: send multipart/form-data (curl -F file=@image.jpg), or "
                "the image itself as image/jpeg or the like (curl -H 'Content-Type: image/jpeg' --data-binary "
                "@image.jpg).",
            )
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise HTTPException(503, f"There is no room for the upload: {error.strerror}.", BUSY) from error
    given = [upload for upload in uploads if upload.filename or upload.size]  # an empty field of a form is neither
    if not given:
        raise HTTPException(400, "There is no image in the request.")
    return given


async def read_form(request: Request, limits: Limits) -> list[UploadFile]:
    parser = MultiPartParser(
        request.headers, limited(request, limits), max_files=limits.max_images, max_fields=FORM_FIELDS
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise HTTPException(413, f"More than max_images={limits.max_images} images.") from None
        raise HTTPException(400, f"The form cannot be read: {error.message}") from None
    return [value for _, value in form.multi_items() if isinstance(value, UploadFile)]


async def read_body(request: Request, limits: Limits) -> UploadFile:
    file = SpooledTemporaryFile(max_size=SPOOLED_BYTES)  # noqa: SIM115 - closed with the upload
    upload = UploadFile(cast(BinaryIO, file), size=0, filename=request.query_params.get("name"))
    try:
        async for chunk in limited(request, limits):
            await upload.write(chunk)
    except BaseException:
        file.close()
        raise
    await upload.seek(0)
    return upload


async def limited(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """The body as it comes. Raises HTTPException 413 as soon as it is too large."""
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limits.max_upload_mb * 1e6:
            raise too_large(limits)
        yield chunk


def too_large(limits: Limits) -> HTTPException:
    return HTTPException(413, f"The request is larger than max_upload_mb={limits.max_upload_mb:g}.")
