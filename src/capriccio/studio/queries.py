"""What a client may ask for in an address: every value bounded before anything is done with it."""

from __future__ import annotations

import re
from typing import Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from capriccio.errors import UsageError
from capriccio.latent.seeds import MAX_SEED
from capriccio.provenance import PictureFormat
from capriccio.rendering.sources import Look
from capriccio.studio.painting import Order, Recipe, Step
from capriccio.studio.problems import Problem
from capriccio.studio.service import Studio

MAX_KEYS = 24
"""Key pictures of one walk."""

_STRICT = ConfigDict(extra="forbid", populate_by_name=False)
_NEGOTIATED: dict[str, PictureFormat] = {"image/webp": "webp", "image/avif": "avif", "image/png": "png"}


class LookQuery(BaseModel):
    """From seed to picture."""

    model_config = _STRICT

    psi: float | None = Field(None, ge=-10, le=10, allow_inf_nan=False, description="Truncation; 1 = none.")
    cutoff: int | None = Field(None, ge=0, le=100, description="Rows truncated, from coarse; absent = all.")
    class_index: int | None = Field(None, alias="class", ge=0, le=100_000, description="Class of a conditional model.")
    noise: Literal["const", "none", "random"] = Field("const", description="The network's noise, none, or by seed.")
    model: str | None = Field(None, max_length=80, description="Name or hash of the model, to be sure of it.")

    def look(self, studio: Studio) -> Look:
        """Return the look; what is absent is the server's default. Raises: Problem for another model."""
        if self.model is not None and self.model not in (studio.name, studio.model.model_hash):
            raise Problem(404, f"This server has the model '{studio.name}' ({studio.model.model_hash}), no other.")
        class_index = 0 if self.class_index is None and studio.model.c_dim else self.class_index
        return Look(
            truncation_psi=studio.settings.psi if self.psi is None else self.psi,
            truncation_cutoff=self.cutoff,
            noise_mode=self.noise,
            class_index=class_index,
        )


class PictureQuery(LookQuery):
    """One picture."""

    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="Seed; absent = another picture every time.")
    scale: int = Field(1, ge=1, le=64, description="Whole factor by which the picture is enlarged.")
    format: PictureFormat | None = Field(None, description="Absent = what the client prefers of WebP, AVIF and PNG.")
    download: bool = Field(False, description="Let browsers save it instead of showing it.")

    def order(self, studio: Studio, request: Request, seed: int) -> Order:
        """Return what is to be painted."""
        return Order(
            recipe=Recipe(seed=seed, look=self.look(studio)),
            file_format=self.format or preferred_format(request.headers.get("accept", "")),
            scale=self.scale,
        )


class MixQuery(PictureQuery):
    """One cell of the mixing table."""

    seed: int = Field(..., ge=0, le=MAX_SEED, description="Seed of the row: keeps every layer that is not mixed.")
    mixed: int = Field(..., ge=0, le=MAX_SEED, description="Seed of the column: lends the mixed layers.")
    layers: str = Field("coarse", max_length=200, description="coarse, middle, fine, or rows such as 0-3,7.")

    def order(self, studio: Studio, request: Request, seed: int) -> Order:
        """Return what is to be painted."""
        plain = PictureQuery.order(self, studio, request, seed)
        recipe = Recipe(seed=seed, look=plain.recipe.look, mixed_seed=self.mixed, layers=self.layers)
        return Order(recipe=recipe, file_format=plain.file_format, scale=plain.scale)


class EditQuery(PictureQuery):
    """A picture, changed."""

    seed: int = Field(..., ge=0, le=MAX_SEED, description="Seed of the picture.")
    change: list[str] = Field(
        [], alias="set", max_length=16,
        description="NAME=STRENGTH, or NAME=STRENGTH@LAYERS, as often as wanted: snow=2, haze=-1@fine.",
    )  # fmt: skip

    def order(self, studio: Studio, request: Request, seed: int) -> Order:
        """Return what is to be painted."""
        plain = PictureQuery.order(self, studio, request, seed)
        recipe = Recipe(seed=seed, look=plain.recipe.look, moves=tuple(_step(text) for text in self.change))
        return Order(recipe=recipe, file_format=plain.file_format, scale=plain.scale)


class WalkRequest(BaseModel):
    """A film through key pictures."""

    model_config = _STRICT

    seeds: list[int] = Field(..., min_length=2, max_length=MAX_KEYS, description="Key pictures; the walk returns.")
    psi: float | None = Field(None, ge=-10, le=10, allow_inf_nan=False)
    class_index: int | None = Field(None, alias="class", ge=0, le=100_000)
    seconds_per_key: float = Field(1.5, ge=0.2, le=10, allow_inf_nan=False)
    frames_per_second: int = Field(24, ge=4, le=60)
    scale: int = Field(1, ge=1, le=8)
    format: Literal["webp", "avif", "mp4", "webm"] = "webp"


class KeyRequest(BaseModel):
    """The key of a server that asks for one."""

    model_config = _STRICT

    key: str = Field(..., min_length=1, max_length=200)


def _step(text: str) -> Step:
    """Return the move that NAME=STRENGTH@LAYERS says. Raises: UsageError."""
    found = re.fullmatch(r"([\w-]{1,60})=([+-]?\d{1,6}(?:\.\d{1,9})?)(?:@([\w,-]{1,100}))?", text, re.ASCII)
    if found is None:
        raise UsageError(f"set: '{text[:80]}' is no change; write one like snow=2 or haze=-1@fine.")
    return Step(found[1], float(found[2]), found[3])


def preferred_format(accept: str) -> PictureFormat:
    """Return the format an Accept header likes best, of WebP, AVIF and PNG; WebP first where it does not mind.

    Who takes anything, but does not name WebP, is not known to read it and gets PNG.
    """
    liking: dict[str, float] = {}
    for part in accept[:1000].split(","):
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        try:
            liking[kind] = float(weight)
        except ValueError:
            liking[kind] = 0.0
    named = {file_format: liking[kind] for kind, file_format in _NEGOTIATED.items() if liking.get(kind, 0) > 0}
    return max(named, key=lambda file_format: named[file_format]) if named else "png"
