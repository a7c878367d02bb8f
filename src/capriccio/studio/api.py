"""``/api/v1``: the model, pictures, mixing, and films; what the studio's page uses, and anybody else may."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from capriccio import __version__
from capriccio.latent.directions import MAX_STRENGTH
from capriccio.latent.mixing import NAMED_ROWS, level_of_row
from capriccio.provenance import TRAINED_ALGORITHMIC_MEDIA
from capriccio.rendering.sources import Look
from capriccio.rendering.video import Film, VideoRequest, save_video
from capriccio.studio.guard import COOKIE, cookie_value, same
from capriccio.studio.jobs import Job, Outcome, Tell
from capriccio.studio.painting import MAX_SIDE, MEDIA_TYPES
from capriccio.studio.problems import Problem, documented
from capriccio.studio.queries import EditQuery, KeyRequest, MixQuery, WalkRequest
from capriccio.studio.sending import send_picture
from capriccio.studio.service import Studio, StudioPart
from capriccio.studio.worker import Full

MAX_FRAMES = 1500
"""Most frames of one film."""

PICTURES: dict[int | str, dict[str, Any]] = {
    200: {"content": {media: {} for media in MEDIA_TYPES.values()}},
    304: {"description": "Not modified"},
}

router = APIRouter(prefix="/api/v1")


@router.get("/model", tags=["model"], responses=documented(401, 429))
async def model_facts(studio: StudioPart) -> dict[str, Any]:
    """What paints here: name, shape, latent rows and the levels they belong to, licence."""
    model = studio.model
    height, width = model.size
    rows = {name: list(range(model.num_ws)[chosen]) for name, chosen in NAMED_ROWS.items()}
    return {
        "name": studio.name,
        "hash": model.model_hash,
        "height": height,
        "width": width,
        "channels": model.channels,
        "classes": model.c_dim,
        "rows": model.num_ws,
        "levels": [level_of_row(row, model.num_ws) for row in range(model.num_ws)],
        "named_rows": {name: chosen for name, chosen in rows.items() if chosen},
        "psi": studio.settings.psi,
        "licence": model.licence,
        "kimg": model.facts.nimg / 1000,
        "data": model.facts.data,
        "digital_source_type": TRAINED_ALGORITHMIC_MEDIA,
        "version": __version__,
        "max_scale": max(1, MAX_SIDE // max(height, width)),
        "directions": [
            {"name": one.name, "about": one.about, "unit": one.unit, "rows": list(one.rows)}
            for one in (studio.painter.directions.listed if studio.painter.directions else ())
        ],
        "max_strength": MAX_STRENGTH,
        "shows_runs": studio.settings.runs is not None,
    }


@router.get("/mix", tags=["pictures"], responses={**PICTURES, **documented(401, 404, 408, 422, 429, 503)},
            response_class=Response)  # fmt: skip
async def mix_cell(query: Annotated[MixQuery, Query()], request: Request, studio: StudioPart) -> Response:
    """One cell of the mixing table: the row's picture with some layers of the column's."""
    return await send_picture(studio, request, query.order(studio, request, query.seed), download=query.download)


@router.get("/edit", tags=["pictures"], responses={**PICTURES, **documented(401, 404, 408, 422, 429, 503)},
            response_class=Response)  # fmt: skip
async def edited(query: Annotated[EditQuery, Query()], request: Request, studio: StudioPart) -> Response:
    """A picture moved along editing directions; /api/v1/model lists them."""
    return await send_picture(studio, request, query.order(studio, request, query.seed), download=query.download)


@router.post("/walks", tags=["films"], status_code=202, responses=documented(401, 413, 422, 429, 503))
async def begin_walk(asked: Annotated[WalkRequest, Body()], studio: StudioPart) -> dict[str, Any]:
    """Begin a film through key pictures; the answer names the job, which tells its progress."""
    classes = studio.model.c_dim
    class_index = 0 if asked.class_index is None and classes else asked.class_index
    psi = studio.settings.psi if asked.psi is None else asked.psi
    request = VideoRequest(
        keys=asked.seeds,
        look=Look(truncation_psi=psi, class_index=class_index),
        frames_per_second=asked.frames_per_second,
        seconds_per_key=asked.seconds_per_key,
        scale=asked.scale,
        batch=8,  # the shorter a step, the sooner pictures pass
    )
    frames = len(asked.seeds) * asked.seconds_per_key * asked.frames_per_second
    if frames > MAX_FRAMES:
        raise Problem(422, f"The film would have {frames:.0f} frames; at most {MAX_FRAMES} are made here. "
                           "Take fewer keys, seconds or frames a second, or 'capriccio video'.")  # fmt: skip
    Film(studio.model, request)  # says what does not fit before anything is queued
    return _begun(studio, "walk", lambda tell: _film(studio, request, asked.format, tell))


def _film(studio: Studio, request: VideoRequest, ending: str, tell: Tell) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"walk.{ending}"
        save_video(studio.model, request, path, lambda done, total: tell({"done": done, "total": total}))
        file = path.read_bytes()
    kind = "image" if ending in ("webp", "avif") else "video"
    return Outcome({"bytes": len(file)}, file, f"{kind}/{ending}", f"walk.{ending}")


# ---- jobs


@router.get("/jobs/{job_id}", tags=["jobs"], responses=documented(401, 404, 429))
async def job_state(job_id: str, studio: StudioPart) -> dict[str, Any]:
    """Where a job stands."""
    return _job(studio, job_id).describe()


@router.delete("/jobs/{job_id}", tags=["jobs"], responses=documented(401, 404, 429))
async def cancel_job(job_id: str, studio: StudioPart) -> dict[str, Any]:
    """Cancel a job; it stops after the step it is at."""
    job = _job(studio, job_id)
    if not job.over:
        studio.jobs.cancel(job)
    return job.describe()


@router.get("/jobs/{job_id}/events", tags=["jobs"], response_class=StreamingResponse,
            responses={200: {"content": {"text/event-stream": {}}}, **documented(401, 404, 429)})  # fmt: skip
async def job_events(job_id: str, studio: StudioPart) -> StreamingResponse:
    """A job's progress as server-sent events; the last one is of its end."""
    job = _job(studio, job_id)
    return StreamingResponse(_events(studio, job), media_type="text/event-stream",
                             headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # fmt: skip


@router.get("/jobs/{job_id}/file", tags=["jobs"], response_class=Response,
            responses={200: {"content": {"application/octet-stream": {}}},
                       **documented(401, 404, 409, 429)})  # fmt: skip
async def job_file(job_id: str, studio: StudioPart) -> Response:
    """What a job made."""
    job = _job(studio, job_id)
    if job.outcome is None or not job.outcome.file:
        raise Problem(409, f"The job is {job.state}; there is no file.")
    headers = {"Content-Disposition": f'attachment; filename="{job.outcome.file_name}"', "Cache-Control": "no-store"}
    return Response(job.outcome.file, headers=headers, media_type=job.outcome.media_type)


async def _events(studio: Studio, job: Job) -> AsyncIterator[str]:
    shown, quiet = -1, 0.0
    while not studio.stopping:
        studio.jobs.get(job.id)  # somebody listens
        if job.version != shown:
            shown, quiet, over = job.version, 0.0, job.over
            yield f"data: {json.dumps(job.describe())}\n\n"
            if over:
                return
        elif quiet >= 10:
            yield ": still here\n\n"
            quiet = 0.0
        await asyncio.sleep(0.1)
        quiet += 0.1


def _begun(studio: Studio, kind: str, work: Any) -> dict[str, Any]:
    try:
        return studio.jobs.begin(kind, work).describe()
    except Full as full:
        raise Problem(429, str(full), {"Retry-After": str(full.retry_after)}) from full


def _job(studio: Studio, job_id: str) -> Job:
    job = studio.jobs.get(job_id)
    if job is None:
        raise Problem(404, "There is no such job; it is over and forgotten, or another server's.")
    return job


# ---- the key


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
