"""What a client may ask for, in an address or as JSON: every value bounded before anything is done with it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from capriccio.config import MAX_SEED
from capriccio.errors import UsageError
from capriccio.latent.directions import parse_change
from capriccio.loading.model import NoiseMode
from capriccio.ops.truncation import MAX_PSI
from capriccio.provenance import PictureFormat
from capriccio.rendering.look import Look
from capriccio.studio.problems import Problem
from capriccio.studio.recipes import Order, Origin, Recipe
from capriccio.studio.service import Studio

MAX_KEYS = 24
"""Key pictures of one walk."""

MAX_RECIPES = 256
"""Pictures whose latents are put into one file."""

_STRICT = ConfigDict(extra="forbid", populate_by_name=False)
_NEGOTIATED: dict[str, PictureFormat] = {"image/webp": "webp", "image/avif": "avif", "image/png": "png"}

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
LatentId = Annotated[str, Field(pattern="^w[0-9a-f]{24}$", description="Id of a latent that was sent or made here.")]


def _key(value: object, inner: ValidatorFunctionWrapHandler) -> int | str:
    """Check a seed or the id of a latent, with one sentence for both."""
    try:
        if not isinstance(value, bool):
            found: int | str = inner(value)
            return found
    except ValidationError:
        pass
    raise ValueError(f"is a seed 0..{MAX_SEED}, or the id of a latent")


Key = Annotated[Seed | LatentId, WrapValidator(_key)]


class LookQuery(BaseModel):
    """From seed to picture."""

    model_config = _STRICT

    psi: float | None = Field(None, ge=-MAX_PSI, le=MAX_PSI, allow_inf_nan=False, description="Truncation; 1 = none.")
    cutoff: int | None = Field(None, ge=0, le=100, description="Rows truncated, from coarse; absent = all.")
    class_index: int | None = Field(None, alias="class", ge=0, le=100_000, description="Class of a conditional model.")
    noise: NoiseMode = Field("const", description="The network's noise, none, or by seed.")
    model: str | None = Field(None, max_length=80, description="Name or hash of the model, to be sure of it.")

    def look(self, studio: Studio) -> Look:
        """Return the look; what is absent is the server's default. Raises: Problem for another model."""
        if self.model is not None and self.model not in (studio.name, studio.model.model_hash):
            raise Problem(404, f"This server has the model '{studio.name}' ({studio.model.model_hash}), no other.")
        return studio.look(self.psi, self.class_index, cutoff=self.cutoff, noise=self.noise)


class OriginQuery(LookQuery):
    """Which picture: that of a seed, or of a latent."""

    seed: Seed | None = Field(None, description="Seed of the picture.")
    latent: LatentId | None = None

    def recipe(self, studio: Studio, otherwise: int | None = None) -> Recipe:
        """Return what the picture is made from; ``otherwise``: the seed, if none is named.

        Raises: Problem for a latent that is not here; UsageError if nothing or too much is named.
        """
        seed = otherwise if self.seed is None and self.latent is None else self.seed
        return Recipe(origin=_origin(studio, "seed", seed, "latent", self.latent), look=self.look(studio))


class FileQuery(BaseModel):
    """Which file of the picture."""

    scale: int = Field(1, ge=1, le=64, description="Whole factor by which the picture is enlarged.")
    format: PictureFormat | None = Field(None, description="Absent = what the client prefers of WebP, AVIF and PNG.")
    download: bool = Field(False, description="Let browsers save it instead of showing it.")

    def order(self, request: Request, recipe: Recipe) -> Order:
        """Return what is to be painted."""
        chosen = self.format or preferred_format(request.headers.get("accept", ""))
        return Order(recipe=recipe, file_format=chosen, scale=self.scale)


class Mixing(BaseModel):
    """What is mixed in."""

    mixed: Seed | None = Field(None, description="Seed that lends the mixed layers.")
    mixed_latent: LatentId | None = Field(None, description="Latent that lends the mixed layers.")
    layers: str = Field("coarse", max_length=200, description="coarse, middle, fine, or rows such as 0-3,7.")

    def mixed_in(self, studio: Studio, recipe: Recipe) -> Recipe:
        """Return a recipe with what is mixed in, if anything is. Raises: Problem; UsageError."""
        if self.mixed is None and self.mixed_latent is None:
            return recipe
        other = _origin(studio, "mixed", self.mixed, "mixed_latent", self.mixed_latent)
        return Recipe(origin=recipe.origin, look=recipe.look, mixed=other, layers=self.layers)


class PictureQuery(FileQuery, OriginQuery):
    """One picture; without seed and latent another one every time."""


class MixQuery(FileQuery, Mixing, OriginQuery):
    """One cell of the mixing table."""

    def recipe(self, studio: Studio, otherwise: int | None = None) -> Recipe:
        """Return what the cell is made from. Raises: Problem; UsageError."""
        recipe = self.mixed_in(studio, OriginQuery.recipe(self, studio, otherwise))
        if recipe.mixed is None:
            raise UsageError("mixed: name the seed, or as mixed_latent the latent, that lends the layers.")
        return recipe


class RecipeQuery(Mixing, OriginQuery):
    """A picture, mixed and changed."""

    change: list[Annotated[str, Field(max_length=200)]] = Field(
        [], alias="set", max_length=16,
        description="NAME=STRENGTH, or NAME=STRENGTH@LAYERS, as often as wanted: snow=2, haze=-1@fine.",
    )  # fmt: skip

    def recipe(self, studio: Studio, otherwise: int | None = None) -> Recipe:
        """Return what the picture is made from. Raises: Problem; UsageError."""
        plain = self.mixed_in(studio, OriginQuery.recipe(self, studio, otherwise))
        changes = tuple(parse_change(text, what="set") for text in self.change)
        return Recipe(origin=plain.origin, look=plain.look, mixed=plain.mixed, layers=plain.layers, changes=changes)


class EditQuery(FileQuery, RecipeQuery):
    """A picture, mixed and changed, and which file of it."""


class RecipesRequest(BaseModel):
    """Pictures whose latents are wanted."""

    model_config = _STRICT

    recipes: list[RecipeQuery] = Field(..., min_length=1, max_length=MAX_RECIPES)


class LatentsFileRequest(RecipesRequest):
    """Pictures whose latents are wanted as a file."""

    format: Literal["safetensors", "npz"] = "safetensors"


class WalkRequest(BaseModel):
    """A film through key pictures."""

    model_config = _STRICT

    keys: list[Key] = Field(
        ..., min_length=2, max_length=MAX_KEYS, description="Seeds or ids of latents; the walk returns to the first."
    )
    psi: float | None = Field(None, ge=-MAX_PSI, le=MAX_PSI, allow_inf_nan=False)
    class_index: int | None = Field(None, alias="class", ge=0, le=100_000)
    seconds_per_key: float = Field(1.5, ge=0.2, le=10, allow_inf_nan=False)
    frames_per_second: int = Field(24, ge=4, le=60)
    scale: int = Field(1, ge=1, le=8)
    format: Literal["webp", "avif", "mp4", "webm"] = "webp"


class KeyRequest(BaseModel):
    """The key of a server that asks for one."""

    model_config = _STRICT

    key: str = Field(..., min_length=1, max_length=200)


def kept_latent(studio: Studio, latent_id: str) -> Origin:
    """Return the latent of an id. Raises: Problem when it is not here."""
    kept = studio.shelf.get(latent_id)
    if kept is None:
        raise Problem(404, f"The latent {latent_id} is not here (any more); send it again to /api/v1/latents.")
    return kept


def _origin(studio: Studio, seed_name: str, seed: int | None, latent_name: str, latent: str | None) -> Origin:
    if (seed is None) == (latent is None):
        raise UsageError(f"{seed_name}: name either {seed_name} or {latent_name}.")
    return kept_latent(studio, latent) if latent is not None else seed or 0


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
