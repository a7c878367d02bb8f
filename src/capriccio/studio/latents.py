"""``/api/v1/latents``: latents brought in as files, made of pictures, and taken home as files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from capriccio.errors import UsageError
from capriccio.latent.files import write_latents
from capriccio.studio.answers import LatentFacts, LatentList
from capriccio.studio.kept import MAX_FILE_BYTES, Kept, called, file_stem
from capriccio.studio.problems import documented
from capriccio.studio.queries import LatentId, LatentsFileRequest, RecipesRequest, kept_latent
from capriccio.studio.recipes import Recipe
from capriccio.studio.service import Studio, StudioPart
from capriccio.studio.uploads import BINARY_BODY, received

FILE: dict[int | str, Any] = {200: {"content": {"application/octet-stream": {}}}}

router = APIRouter(prefix="/api/v1/latents", tags=["latents"])


@router.post("", responses=documented(401, 408, 413, 422, 429, 503), openapi_extra=BINARY_BODY)
async def bring_latents(
    request: Request, studio: StudioPart,
    name: Annotated[str, Query(max_length=200, description="What latents without names are called.")] = "latents",
) -> LatentList:  # fmt: skip
    """Bring the bytes of a latents file (.safetensors or .npz, NVIDIA's too); the answer names its latents."""
    data = await received(request)
    return _listed(studio, await run_in_threadpool(studio.shelf.take, data, called(file_stem(name))))


@router.post("/made", responses=documented(401, 404, 408, 413, 422, 429, 503))
async def keep_made(asked: Annotated[RecipesRequest, Body()], studio: StudioPart) -> LatentList:
    """Keep the latents of pictures, mixed and edited ones too, so that they can be mixed and walked through."""
    kept = []
    for recipe in await studio.ask(_recipes, studio, asked):
        latents = await studio.errand(lambda one=recipe: studio.painter.latents([one]))  # type: ignore[misc]
        kept += await studio.ask(studio.shelf.put, latents)
    return _listed(studio, kept)


@router.post("/file", response_class=Response, responses={**FILE, **documented(401, 404, 408, 413, 422, 429, 503)})
async def latents_file(asked: Annotated[LatentsFileRequest, Body()], studio: StudioPart) -> Response:
    """The latents of pictures as one file, for generate, mix, edit and video on the command line."""
    recipes = await studio.ask(_recipes, studio, asked)
    latents = await studio.errand(lambda: studio.painter.latents(recipes))
    file = await run_in_threadpool(write_latents, latents, f".{asked.format}")
    return _file(file, f"capriccio-latents.{asked.format}")


@router.get("/{latent_id}", response_class=Response, responses={**FILE, **documented(401, 404, 422, 429)})
async def one_latent(latent_id: Annotated[LatentId, Path()], studio: StudioPart) -> Response:
    """One latent as a file; whoever keeps it can bring it again, here or to another server."""
    kept = await studio.ask(kept_latent, studio, latent_id)
    assert isinstance(kept, Kept)
    return _file(kept.file, f"latent-{kept.id[:8]}.safetensors")


def _recipes(studio: Studio, asked: RecipesRequest) -> list[Recipe]:
    recipes = [one.recipe(studio) for one in asked.recipes]
    for recipe in recipes:
        studio.painter.check_recipe(recipe)
    each = sum(math.prod(shape) for shape in studio.model.generator.synthesis.noise_shapes())
    each += studio.model.num_ws * studio.model.w_dim
    most = max(1, MAX_FILE_BYTES // (4 * each))
    if len(recipes) > most:
        raise UsageError(f"recipes: {len(recipes)} latents would fill more than {MAX_FILE_BYTES:,} bytes; at most "
                         f"{most} of this model are taken at once.")  # fmt: skip
    return recipes


def _listed(studio: Studio, kept: Sequence[Kept]) -> LatentList:
    def foreign(one: Kept) -> bool:
        record = one.latents.provenance
        return record is not None and record.model_hash != studio.model.model_hash

    return LatentList(latents=[LatentFacts(id=one.id, name=one.name, foreign=foreign(one)) for one in kept])


def _file(data: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(data, headers=headers, media_type="application/octet-stream")
