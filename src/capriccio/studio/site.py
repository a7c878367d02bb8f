"""The wall: ``/`` with one picture, ``/picture`` itself, and what watches the server."""

from __future__ import annotations

import base64
import hashlib
import string
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from pydantic import Field

from capriccio.config import MAX_SEED
from capriccio.rendering.markup import escape
from capriccio.studio.guard import POLICY
from capriccio.studio.painting import MEDIA_TYPES
from capriccio.studio.pool import random_seed
from capriccio.studio.problems import Problem, documented
from capriccio.studio.queries import LookQuery, PictureQuery
from capriccio.studio.sending import random_headers, send_picture
from capriccio.studio.service import Studio, StudioPart

STATIC = Path(__file__).parent / "static"

SHOWN_SIDE = 512
"""Small pictures are sent to the wall enlarged to about this side, by a better filter than browsers have."""

SHOWN_FACTOR = 8
"""Pixels of the wall's picture are shown at most so large; what is larger than the window fits into it."""

router = APIRouter()


class WallQuery(LookQuery):
    """The picture on the wall."""

    seed: int | None = Field(None, ge=0, le=MAX_SEED)


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def wall(query: Annotated[WallQuery, Query()], studio: StudioPart) -> HTMLResponse:
    """One picture, another one on every reload."""
    look = query.look(studio)
    seed = random_seed() if query.seed is None else query.seed
    height, width = studio.model.size
    values = {
        "seed": str(seed),
        "grouped": f"{seed:,}".replace(",", "\u202f"),
        "psi": f"{look.truncation_psi:g}",
        "extra": _rest(query),
        "scale": str(max(1, min(8, SHOWN_SIDE // max(height, width)))),
        "width": str(width),
        "height": str(height),
        "name": studio.name,
        "licence": studio.model.licence,
        "hash": studio.model.model_hash[:12],
    }
    page, policy = _page(height, width)
    body = page.substitute({name: escape(value) for name, value in values.items()})
    return HTMLResponse(body, headers={"Cache-Control": "no-store", "Content-Security-Policy": policy})


@cache
def _page(height: int, width: int) -> tuple[string.Template, str]:
    """Return the page with its style and script inside, and the policy that allows just these two."""
    style, script, page = ((STATIC / name).read_text() for name in ("wall.css", "wall.js", "wall.html"))
    style = style.replace("SHOWN", f"{SHOWN_FACTOR * width / 16:g}").replace("ASPECT", f"{width / height:g}")
    style, script = style.replace("$", "$$"), script.replace("$", "$$")
    page = page.replace("/*style*/", style).replace("/*script*/", script)
    policy = POLICY.replace("script-src 'self'", f"script-src {_hash(script)}")
    return string.Template(page), policy.replace("style-src 'self'", f"style-src {_hash(style)}")


def _hash(inline: str) -> str:
    digest = hashlib.sha256(inline.replace("$$", "$").encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@router.get("/picture", tags=["pictures"], responses={
    200: {"content": {media: {} for media in MEDIA_TYPES.values()}}, 304: {"description": "Not modified"},
    **documented(401, 404, 408, 413, 422, 429, 503),
}, response_class=Response)  # fmt: skip
@router.head("/picture", include_in_schema=False)
async def picture(query: Annotated[PictureQuery, Query()], request: Request, studio: StudioPart) -> Response:
    """The picture of a seed, or of a latent that was sent here; without either another one every time."""
    if query.seed is not None or query.latent is not None:
        order = query.order(request, await studio.ask(query.recipe, studio))
        return await send_picture(studio, request, order, download=query.download)
    seed = random_seed()
    order = query.order(request, query.recipe(studio, seed))
    file: bytes | None = None
    if studio.pool.serves(order) and (ready := studio.pool.take()) is not None:
        seed, file = ready
        studio.worker.nudge()
    order = query.order(request, query.recipe(studio, seed))
    if file is None:
        file = await studio.file(request, replace(order, fast=True), keep=False)
    permalink = f"/picture?seed={seed}&psi={order.recipe.look.truncation_psi:g}{_rest(query)}"
    return Response(file, headers=random_headers(order, permalink), media_type=MEDIA_TYPES[order.file_format])


def _rest(query: LookQuery) -> str:
    """Return what else of the look an address has to say to show the same picture again."""
    noise = None if query.noise == "const" else query.noise
    given = {"cutoff": query.cutoff, "class": query.class_index, "noise": noise}
    return "".join(f"&{name}={value}" for name, value in given.items() if value is not None)


@router.get("/studio", include_in_schema=False)
async def studio_page() -> FileResponse:
    """The studio's page."""
    return FileResponse(STATIC / "studio.html", headers={"Cache-Control": "no-cache"})


@router.get("/favicon.ico", include_in_schema=False)
async def icon() -> FileResponse:
    """The sign."""
    return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


@router.get("/robots.txt", include_in_schema=False)
async def robots() -> PlainTextResponse:
    """Every reload is another picture: nothing here can be indexed to an end."""
    return PlainTextResponse("User-agent: *\nDisallow: /picture\nDisallow: /api/\n")


@router.get("/healthz", tags=["watching"], response_class=PlainTextResponse, responses=documented(503))
async def healthz(studio: StudioPart) -> PlainTextResponse:
    """Whether the process works."""
    if not studio.worker.alive and not studio.stopping:
        raise Problem(503, "The worker has died; start the server again.")
    return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})


@router.get("/readyz", tags=["watching"], response_class=PlainTextResponse, responses=documented(503))
async def readyz(studio: StudioPart) -> PlainTextResponse:
    """Whether requests should be sent here: warm, not leaving, and the queue not full."""
    if not studio.ready or studio.stopping:
        raise Problem(503, "Leaving." if studio.stopping else "Warming up.", {"Retry-After": "1"})
    if studio.worker.waiting >= studio.worker.room:
        raise Problem(503, "The queue is full.", {"Retry-After": "1"})
    return PlainTextResponse("ready\n", headers={"Cache-Control": "no-store"})


@router.get("/metrics", tags=["watching"], response_class=PlainTextResponse, responses=documented(401))
async def metrics(studio: StudioPart) -> PlainTextResponse:
    """Counters, as Prometheus reads them."""
    return PlainTextResponse(studio.measures.page(gauges(studio)), media_type="text/plain; version=0.0.4")


def gauges(studio: Studio) -> dict[str, tuple[str, float]]:
    """Return what the parts say of themselves."""
    return {
        "pictures_waiting": ("Pictures that wait to be painted or encoded.", studio.worker.waiting),
        "jobs_waiting": ("Films, projections and detections that wait or run.", studio.worker.waiting_jobs),
        "pool_pictures": ("Random pictures kept ready.", len(studio.pool)),
    }
