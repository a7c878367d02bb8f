"""Answers that carry a picture: tags, caching, provenance in the headers."""

from __future__ import annotations

from fastapi import Request, Response

from capriccio.rendering.pictures import ending_of
from capriccio.studio.kept import Kept
from capriccio.studio.painting import MEDIA_TYPES
from capriccio.studio.recipes import Order
from capriccio.studio.service import Studio

KEEP = "public, max-age=3600, stale-while-revalidate=86400"
"""For pictures of a permalink: the same address is the same picture as long as the server keeps its model."""

KEEP_PRIVATE = "private, max-age=3600"
"""For pictures of somebody's own latents: no proxy keeps those."""


async def send_picture(studio: Studio, request: Request, order: Order, *, download: bool = False) -> Response:
    """Answer with the picture of a permalink; 304 where the client has it, without painting it.

    Raises: UsageError for what the model cannot paint; Problem.
    """
    studio.painter.check(order)
    tag = studio.tag(order)
    private = any(isinstance(origin, Kept) for origin in order.recipe.origins)
    headers = _headers(order, tag, KEEP_PRIVATE if private else KEEP)
    if _matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    if download:
        ending = ending_of(order.file_format)
        headers["Content-Disposition"] = f'attachment; filename="{order.recipe.stem}.{ending}"'
    file = b"" if request.method == "HEAD" else await studio.file(request, order)
    return Response(file, headers=headers, media_type=MEDIA_TYPES[order.file_format])


def random_headers(order: Order, permalink: str) -> dict[str, str]:
    """Return the headers of a picture nobody asked for by its seed: never kept, but its permalink is told."""
    headers = _headers(order, "", "no-store")
    del headers["ETag"]
    return headers | {"Content-Location": permalink}


def _headers(order: Order, tag: str, caching: str) -> dict[str, str]:
    origin = order.recipe.origin
    return {
        "ETag": tag,
        "Cache-Control": caching,
        "Vary": "Accept",
        **({"X-Capriccio-Seed": str(origin)} if isinstance(origin, int) else {}),
        "Cross-Origin-Resource-Policy": "cross-origin",  # made to be embedded
    }


def _matches(header: str, tag: str) -> bool:
    tags = {part.strip().removeprefix("W/") for part in header.split(",")}
    return tag in tags or "*" in tags
