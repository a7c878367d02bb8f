"""``/api/v1/walks``: films through key pictures, made while the client looks on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body, Request

from capriccio.latent.files import Latents
from capriccio.rendering.look import Look
from capriccio.rendering.video import Film, VideoRequest, save_video
from capriccio.studio.answers import JobState
from capriccio.studio.jobs import Outcome, Tell
from capriccio.studio.problems import Problem, documented
from capriccio.studio.queries import WalkRequest, kept_latent
from capriccio.studio.recipes import Recipe
from capriccio.studio.service import Studio, StudioPart

MAX_FRAMES = 1500
"""Most frames of one film."""

BATCH = 8
"""Frames painted at once: the shorter a step, the sooner pictures pass."""

router = APIRouter(prefix="/api/v1")


@router.post("/walks", tags=["films"], status_code=202, responses=documented(401, 404, 413, 422, 429, 503))
async def begin_walk(asked: Annotated[WalkRequest, Body()], request: Request, studio: StudioPart) -> JobState:
    """Begin a film through key pictures; the answer names the job, which tells its progress."""
    look = studio.look(asked.psi, asked.class_index)
    frames = len(asked.keys) * asked.seconds_per_key * asked.frames_per_second
    if frames > MAX_FRAMES:
        raise Problem(422, f"The film would have {frames:.0f} frames; at most {MAX_FRAMES} are made here. "
                           "Take fewer keys, seconds or frames a second, or 'capriccio video'.")  # fmt: skip
    studio.painter.check_scale(asked.scale)
    film = VideoRequest(
        keys=await _keys(studio, asked.keys, look),
        look=look,
        frames_per_second=asked.frames_per_second,
        seconds_per_key=asked.seconds_per_key,
        scale=asked.scale,
        batch=BATCH,
    )
    await studio.errand(lambda: Film(studio.model, film))  # says what does not fit before anything is queued
    return await studio.begin(request, "walk", lambda tell: _film(studio, film, asked.format, tell))


async def _keys(studio: Studio, keys: list[int | str], look: Look) -> list[int] | Latents:
    """Return the keys as a film takes them: seeds as they are, and once a latent is among them the latents of all."""
    seeds = [key for key in keys if isinstance(key, int)]
    if len(seeds) == len(keys):
        return seeds
    origins = [key if isinstance(key, int) else await studio.ask(kept_latent, studio, key) for key in keys]
    recipes = [Recipe(origin=origin, look=look) for origin in origins]
    for recipe in recipes:
        studio.painter.check_recipe(recipe)
    return await studio.errand(lambda: studio.painter.latents(recipes))


def _film(studio: Studio, film: VideoRequest, ending: str, tell: Tell) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"walk.{ending}"
        save_video(studio.model, film, path, lambda done, total: tell({"done": done, "total": total}))
        file = path.read_bytes()
    kind = "image" if ending in ("webp", "avif") else "video"
    return Outcome({"bytes": len(file)}, file, f"{kind}/{ending}", f"walk.{ending}")
