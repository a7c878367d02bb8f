"""``/api/v1/jobs``: how a job stands, its progress as it comes, what it made, and a way to stop it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from capriccio.studio.answers import JobState
from capriccio.studio.job_file import JobView
from capriccio.studio.problems import Problem, documented
from capriccio.studio.service import Studio, StudioPart

LOOK_SECONDS, LOOK_ELSEWHERE_SECONDS = 0.1, 0.3
"""Time between two looks at a job, of this server and of another one."""

QUIET_SECONDS = 10.0
"""A stream without news says so after this time, so that proxies keep it open and those who left are noticed."""

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


@router.get("/{job_id}", responses=documented(401, 404, 429))
async def job_state(job_id: str, studio: StudioPart) -> JobState:
    """Where a job stands."""
    return JobState(**(await _job(studio, job_id)).told)


@router.delete("/{job_id}", responses=documented(401, 404, 429))
async def cancel_job(job_id: str, studio: StudioPart) -> JobState:
    """Cancel a job; it stops after the step it is at."""
    if not (await _job(studio, job_id)).over:
        await studio.ask(studio.jobs.cancel, job_id)
    return JobState(**(await _job(studio, job_id)).told)


@router.get("/{job_id}/events", response_class=StreamingResponse,
            responses={200: {"content": {"text/event-stream": {}}}, **documented(401, 404, 429)})  # fmt: skip
async def job_events(job_id: str, studio: StudioPart) -> StreamingResponse:
    """A job's progress as server-sent events; the last one is of its end."""
    await _job(studio, job_id)
    return StreamingResponse(_events(studio, job_id), media_type="text/event-stream",
                             headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # fmt: skip


@router.get("/{job_id}/file", response_class=Response,
            responses={200: {"content": {"application/octet-stream": {}}},
                       **documented(401, 404, 409, 429)})  # fmt: skip
async def job_file(job_id: str, studio: StudioPart) -> Response:
    """What a job made."""
    job, made = await _job(studio, job_id), await studio.ask(studio.jobs.outcome, job_id)
    if made is None:
        raise Problem(409, f"The job is {job.state}; there is no file.")
    headers = {"Content-Disposition": f'attachment; filename="{made.file_name}"', "Cache-Control": "no-store"}
    return Response(made.file, headers=headers, media_type=made.media_type)


async def _events(studio: Studio, job_id: str) -> AsyncIterator[str]:
    shown, quiet = -1, 0.0
    while not studio.stopping:
        job = await studio.ask(studio.jobs.look, job_id)  # somebody listens
        if job is None:
            return
        if job.version != shown or job.over:
            shown, quiet = job.version, 0.0
            yield f"data: {json.dumps(job.told)}\n\n"
            if job.over:
                return
        elif quiet >= QUIET_SECONDS:
            yield ": still here\n\n"
            quiet = 0.0
        pause = LOOK_ELSEWHERE_SECONDS if job.elsewhere else LOOK_SECONDS
        await asyncio.sleep(pause)
        quiet += pause


async def _job(studio: Studio, job_id: str) -> JobView:
    job = await studio.ask(studio.jobs.look, job_id)
    if job is None:
        raise Problem(404, "There is no such job; it is over and forgotten, or another server's.")
    return job
