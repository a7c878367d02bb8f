"""``/api/v1``: the model, mixed and edited pictures, the key; what the studio's page uses, and anybody else may."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import JSONResponse

from capriccio import __version__
from capriccio.latent.directions import MAX_STRENGTH
from capriccio.latent.mixing import NAMED_ROWS, level_of_row
from capriccio.provenance import TRAINED_ALGORITHMIC_MEDIA
from capriccio.studio.answers import DirectionFacts, ModelFacts
from capriccio.studio.guard import COOKIE, cookie_value, same
from capriccio.studio.painting import MAX_SIDE, MEDIA_TYPES
from capriccio.studio.problems import Problem, documented
from capriccio.studio.queries import EditQuery, KeyRequest, MixQuery
from capriccio.studio.sending import send_picture
from capriccio.studio.service import StudioPart

PICTURES: dict[int | str, dict[str, Any]] = {
    200: {"content": {media: {} for media in MEDIA_TYPES.values()}},
    304: {"description": "Not modified"},
    **documented(401, 404, 408, 422, 429, 503),
}

router = APIRouter(prefix="/api/v1")


@router.get("/model", tags=["model"], responses=documented(401, 429))
async def model_facts(studio: StudioPart) -> ModelFacts:
    """What paints here: name, shape, latent rows and the levels they belong to, licence."""
    model = studio.model
    height, width = model.size
    rows = {name: list(range(model.num_ws)[chosen]) for name, chosen in NAMED_ROWS.items()}
    directions = studio.painter.directions.listed if studio.painter.directions else ()
    return ModelFacts(
        name=studio.name,
        hash=model.model_hash,
        height=height,
        width=width,
        channels=model.channels,
        classes=model.c_dim,
        class_names=list(model.class_names),
        rows=model.num_ws,
        levels=[level_of_row(row, model.num_ws) for row in range(model.num_ws)],
        named_rows={name: chosen for name, chosen in rows.items() if chosen},
        psi=studio.settings.psi,
        licence=model.licence,
        kimg=model.facts.nimg / 1000,
        data=dict(model.facts.data),
        digital_source_type=TRAINED_ALGORITHMIC_MEDIA,
        version=__version__,
        max_scale=max(1, MAX_SIDE // max(height, width)),
        directions=[
            DirectionFacts(name=one.name, about=one.about, unit=one.unit, rows=list(one.rows)) for one in directions
        ],
        max_strength=MAX_STRENGTH,
        detects=studio.inverters.calibrated,
        shows_runs=studio.settings.runs is not None,
    )


@router.get("/mix", tags=["pictures"], responses=PICTURES, response_class=Response)
async def mix_cell(query: Annotated[MixQuery, Query()], request: Request, studio: StudioPart) -> Response:
    """One cell of the mixing table: the row's picture with some layers of the column's."""
    order = query.order(request, await studio.ask(query.recipe, studio))
    return await send_picture(studio, request, order, download=query.download)


@router.get("/edit", tags=["pictures"], responses=PICTURES, response_class=Response)
async def edited(query: Annotated[EditQuery, Query()], request: Request, studio: StudioPart) -> Response:
    """A picture, perhaps a mixed one, moved along editing directions; /api/v1/model lists them."""
    order = query.order(request, await studio.ask(query.recipe, studio))
    return await send_picture(studio, request, order, download=query.download)


@router.post("/key", tags=["key"], status_code=204, response_class=Response, responses=documented(401, 413, 422, 429))
async def give_key(asked: Annotated[KeyRequest, Body()], request: Request, studio: StudioPart) -> Response:
    """Let this browser in: it keeps a cookie that scripts cannot read."""
    key = studio.settings.api_key
    if key is None or not same(asked.key, key):
        raise Problem(401, "That is not the key." if key else "This server asks for no key.")
    answer = Response(status_code=204)
    answer.set_cookie(COOKIE, cookie_value(key), httponly=True, samesite="strict", path="/",
                      secure=request.url.scheme == "https")  # fmt: skip
    return answer


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """The description of all this."""
    return JSONResponse(request.app.openapi())
