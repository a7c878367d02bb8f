"""``/api/v1/projections``: a photograph becomes a latent, to be mixed, edited and walked through."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from fastapi import APIRouter, Query, Request

from capriccio.latent.files import Latents
from capriccio.provenance import Provenance
from capriccio.studio.answers import JobState
from capriccio.studio.jobs import Outcome, Tell
from capriccio.studio.kept import called, file_stem
from capriccio.studio.problems import Problem, documented
from capriccio.studio.service import Studio, StudioPart
from capriccio.studio.uploads import BINARY_BODY, Target, received_picture
from capriccio.studio.watching import Watched

router = APIRouter(prefix="/api/v1", tags=["latents"])


@router.post("/projections", status_code=202, responses=documented(401, 408, 413, 422, 429, 503),
             openapi_extra=BINARY_BODY)  # fmt: skip
async def begin_projection(
    request: Request, studio: StudioPart,
    name: Annotated[str, Query(max_length=200, description="What the photograph is called.")] = "photograph",
    class_index: Annotated[int | None, Query(alias="class", ge=0, le=100_000)] = None,
) -> JobState:  # fmt: skip
    """Find the latent of a photograph (the bytes of a PNG, JPEG, WebP, AVIF …); the answer names the job.

    Its outcome has the latent's id and name, its file is a latents file.
    """
    classes = studio.model.c_dim
    if class_index is not None and class_index >= classes:
        raise Problem(422, f"class: this model has {f'classes 0..{classes - 1}' if classes else 'no classes'}.")
    chosen = studio.class_or_first(class_index)
    target = await received_picture(request, studio.model.shape, studio.model.model_hash)
    label = called(file_stem(name), projected=True)
    return await studio.begin(request, "projection", lambda tell: _project(studio, target, label, chosen, tell))


def _project(studio: Studio, target: Target, name: str, class_index: int | None, tell: Tell) -> Outcome:
    model = studio.model
    watched = Watched(model, target.images, tell)
    projection = watched.project(studio.inverters.projector(class_index, watched.wait))
    record = Provenance(model_hash=model.model_hash, licence=model.licence, kind="projection", latents=(name,))
    ws = projection.ws.detach().to("cpu", torch.float32)
    (kept,) = studio.shelf.put(Latents(ws=ws, names=(name,), provenance=record))
    facts: dict[str, Any] = {
        "latent": kept.id,
        "name": kept.name,
        "distance": float(projection.distances[0]),
        "resized": target.resized,
    }
    file_name = f"latent-{kept.id[:8]}.safetensors"
    return Outcome(facts | watched.shown, kept.file, "application/octet-stream", file_name)
