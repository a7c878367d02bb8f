"""From a recipe to the bytes of a picture file, many recipes in one batch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from capriccio import __version__
from capriccio.errors import UsageError
from capriccio.latent.directions import MAX_STRENGTH, Directions, move
from capriccio.latent.mixing import mix, rows_of
from capriccio.provenance import PictureFormat, Provenance
from capriccio.rendering.edit import Move
from capriccio.rendering.grids import to_picture, to_uint8
from capriccio.rendering.pictures import check_size, encode_picture
from capriccio.rendering.sources import Look, open_source, provenance_of

if TYPE_CHECKING:
    from capriccio.loading.model import Model

MAX_SIDE = 2048
"""Longest side of a picture that is sent enlarged."""

MEDIA_TYPES: dict[PictureFormat, str] = {
    "webp": "image/webp", "png": "image/png", "avif": "image/avif", "jpeg": "image/jpeg",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One move along an editing direction."""

    name: str
    strength: float
    layers: str | None = None
    """Rows that move; None = the direction's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a picture is made from."""

    seed: int
    """Seed of the picture."""
    look: Look = field(default_factory=Look)
    """From seed to picture."""
    mixed_seed: int | None = None
    """Seed whose styles are mixed in; None = nothing is."""
    layers: str = "coarse"
    """Which latent rows come from it; see :data:`capriccio.latent.mixing.Layers`."""
    moves: tuple[Step, ...] = ()
    """What is changed along editing directions, after mixing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A recipe, and the file that is wanted of it."""

    recipe: Recipe
    file_format: PictureFormat = "webp"
    scale: int = 1
    """Whole factor by which the picture is enlarged, smoothly."""
    fast: bool = False
    """Paint at the fastest precision instead of float32; for pictures nobody will ask for again."""

    @property
    def kind(self) -> tuple[str, bool]:
        """What orders painted in one batch have in common."""
        return self.recipe.look.noise_mode, self.fast

    def tag(self, model_hash: str) -> str:
        """Return the entity tag: a function of the request and the model, known before anything is painted."""
        digest = hashlib.blake2b(repr((self, model_hash, __version__)).encode(), digest_size=12).hexdigest()
        return f'"{digest}"'


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture as the network painted it, with what its file needs."""

    image: Image.Image
    order: Order
    provenance: Provenance

    def encode(self) -> bytes:
        """Return the file, in the quality of the command line's files."""
        image, scale = self.image, self.order.scale
        if scale > 1:
            image = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
        return encode_picture(image, self.order.file_format, self.provenance)


def faster(one: Model, other: Model, batch: int) -> Model:
    """Return which of two paints a batch in less time, best of three each: small networks gain little from low
    precision on some processors, and lose on others.
    """

    def seconds(model: Model) -> float:
        ws = model.ws(seeds=range(batch), c=model.label(0, batch) if model.c_dim else None)
        times = []
        for _ in range(4):  # the first warms up
            began = time.perf_counter()
            model.images(ws).cpu()
            times.append(time.perf_counter() - began)
        return min(times[1:])

    return min((one, other), key=seconds)


class ModelPainter:
    """Paints orders with a model.

    Args:
        model: computes in float32; what it paints for a recipe is what the command line paints.
        fast: the same weights at the fastest precision of the device; None = ``model``.
        directions: editing directions of the model; None = there are none.
    """

    def __init__(self, model: Model, fast: Model | None = None, directions: Directions | None = None) -> None:
        self.model, self._fast, self.directions = model, fast or model, directions

    def check(self, order: Order) -> None:
        """Raise UsageError if the model cannot paint ``order``; costs nothing."""
        recipe = order.recipe
        open_source(self.model, _seeds(recipe), recipe.look)
        if recipe.mixed_seed is not None:
            rows_of(recipe.layers, self.model.num_ws)
        for one in self._moves(recipe):
            if abs(one.strength) > MAX_STRENGTH:
                raise UsageError(f"the strength of '{one.direction.name}' must lie in -{MAX_STRENGTH:g}.."
                                 f"{MAX_STRENGTH:g}, got {one.strength:g}.")  # fmt: skip
            one.text(self.model.num_ws)  # says which rows are not there
        height, width = self.model.size
        if order.scale < 1 or (max(height, width) * order.scale > MAX_SIDE and order.scale > 1):
            most = max(1, MAX_SIDE // max(height, width))
            raise UsageError(f"scale must lie in 1..{most} for pictures of {height}×{width}, got {order.scale}.")
        check_size((width * order.scale, height * order.scale), order.file_format)
        if order.file_format == "jpeg" and self.model.channels == 4:
            raise UsageError("JPEG holds no transparency, and this model paints with alpha. Choose png, webp or avif.")

    def paint(self, orders: Sequence[Order]) -> list[Painted]:
        """Paint a batch of one kind."""
        model = self._fast if orders[0].fast else self.model
        look = orders[0].recipe.look
        ws = self.ws([order.recipe for order in orders], model)
        noise_seeds = [order.recipe.seed for order in orders] if look.noise_mode == "random" else None
        images = to_uint8(model.images(ws, noise_mode=look.noise_mode, noise_seeds=noise_seeds))
        return [
            Painted(to_picture(pixels), order, self._provenance(order.recipe))
            for pixels, order in zip(images, orders, strict=True)
        ]

    def ws(self, recipes: Sequence[Recipe], model: Model | None = None) -> Tensor:
        """Return the latents of ``recipes``, [N, num_ws, w_dim]; seeds of one look are mapped together."""
        model = model or self.model
        looks: dict[Look, list[int]] = {}
        for index, recipe in enumerate(recipes):
            looks.setdefault(recipe.look, []).append(index)
        rows: list[Tensor | None] = [None] * len(recipes)
        for look, indices in looks.items():
            seeds = [seed for i in indices for seed in _seeds(recipes[i])]
            mapped = iter(open_source(model, seeds, look).ws(0, len(seeds)).unbind())
            for i in indices:
                row = _mixed(recipes[i], [next(mapped)[None] for _ in _seeds(recipes[i])], model.num_ws)
                for one in self._moves(recipes[i]):
                    row = move(row, one.direction, one.strength, one.layers)
                rows[i] = row
        return torch.cat([row for row in rows if row is not None])

    def _moves(self, recipe: Recipe) -> list[Move]:
        """Return the moves of a recipe. Raises: UsageError for a direction that is not there."""
        if recipe.moves and self.directions is None:
            raise UsageError("This model has no editing directions; 'capriccio directions' finds them.")
        return [
            Move(direction=self.directions[step.name], strength=step.strength, layers=step.layers)
            for step in recipe.moves
            if self.directions is not None
        ]

    def _provenance(self, recipe: Recipe) -> Provenance:
        source = open_source(self.model, [recipe.seed], recipe.look)
        record = provenance_of(self.model, recipe.look, source, 0, 1)
        if recipe.moves:
            record = replace(
                record, kind="edit", edits=tuple(one.text(self.model.num_ws) for one in self._moves(recipe))
            )
        if recipe.mixed_seed is None:
            return record
        rows = rows_of(recipe.layers, self.model.num_ws)
        return replace(record, kind="mix", mixed_seeds=(recipe.mixed_seed,), mixed_layers=rows)


def _seeds(recipe: Recipe) -> list[int]:
    return [recipe.seed] if recipe.mixed_seed is None else [recipe.seed, recipe.mixed_seed]


def _mixed(recipe: Recipe, ws: list[Tensor], num_ws: int) -> Tensor:
    return ws[0] if len(ws) == 1 else mix(ws[0], ws[1], rows_of(recipe.layers, num_ws))
