"""Bodies that are files: read into memory, never to the disk, and looked at before they are decoded."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from PIL import Image
from starlette.concurrency import run_in_threadpool
from torch import Tensor

from capriccio.config import ImageShape
from capriccio.data.pictures import PictureError
from capriccio.inversion.targets import to_images, to_target
from capriccio.rendering.verdicts import said_of_itself
from capriccio.studio.problems import Problem

BINARY_BODY: dict[str, Any] = {"requestBody": {
    "required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}}  # fmt: skip
"""What OpenAPI should say of a body that is a file; whatever type the client states, the contents decide."""

_decoding = asyncio.Semaphore(1)
"""One picture is decoded at a time: a large one takes a quarter of a gigabyte."""


@dataclass(frozen=True, slots=True)
class Target:
    """An uploaded picture as the network sees it."""

    images: Tensor
    """−1…1, [1, C, H, W]."""
    resized: bool
    """Whether it was cut or resized to fit."""
    says: str
    """What its file says about itself."""


async def received(request: Request) -> bytes:
    """Return the body of a request, which the guard keeps within limits. Raises: Problem for an empty one or a form."""
    data = await request.body()
    if data.startswith(b"--") and request.headers.get("content-type", "").startswith("multipart/"):
        raise Problem(422, "This is a form. Send the file itself as the body: curl --data-binary @FILE, not -F.")
    if not data:
        raise Problem(422, "The file is empty; send its bytes as the body of the request.")
    return data


async def received_picture(request: Request, shape: ImageShape, model_hash: str) -> Target:
    """Return the picture that is the body of a request, cut and resized to ``shape``; what it says of itself is read
    as seen from the model of ``model_hash``.

    Raises: Problem saying why it cannot be used.
    """
    data = await received(request)
    try:
        async with _decoding:
            return await run_in_threadpool(_decoded, data, shape, model_hash)
    except PictureError as error:
        raise Problem(422, f"The file {error}.") from error


def _decoded(data: bytes, shape: ImageShape, model_hash: str) -> Target:
    pixels, resized = to_target(data, shape)
    with Image.open(io.BytesIO(data)) as picture:  # its headers alone
        says = said_of_itself(picture, model_hash)
    return Target(to_images([pixels]), resized, says)
