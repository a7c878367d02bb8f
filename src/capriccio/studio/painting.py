"""From recipes to latents, pictures and the bytes of files, many recipes in one batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from capriccio.errors import UsageError
from capriccio.latent.directions import Directions, move
from capriccio.latent.files import Latents
from capriccio.latent.mixing import mix, rows_of
from capriccio.provenance import PictureFormat, Provenance
from capriccio.rendering.edit import Move, moves_of
from capriccio.rendering.grids import enlarge, pictures_of
from capriccio.rendering.look import Look
from capriccio.rendering.pictures import check_fits, encode_picture
from capriccio.rendering.sources import LatentSource, open_source, provenance_of
from capriccio.studio.kept import PROJECTED, Kept
from capriccio.studio.recipes import Order, Origin, Recipe

if TYPE_CHECKING:
    from capriccio.loading.model import Model

MAX_SIDE = 2048
"""Longest side of a picture that is sent enlarged."""

MEDIA_TYPES: dict[PictureFormat, str] = {
    "webp": "image/webp", "png": "image/png", "avif": "image/avif", "jpeg": "image/jpeg",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture as the network painted it, with what its file needs."""

    image: Image.Image
    order: Order
    provenance: Provenance

    def encode(self) -> bytes:
        """Return the file, in the quality of the command line's files."""
        return encode_picture(enlarge(self.image, self.order.scale), self.order.file_format, self.provenance)


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

    # ---- what can be painted

    def check(self, order: Order) -> None:
        """Raise UsageError if the model cannot paint ``order``; costs nothing."""
        self.check_recipe(order.recipe)
        self.check_scale(order.scale)
        height, width = self.model.size
        size = width * order.scale, height * order.scale
        check_fits(order.file_format, size, alpha=self.model.channels == 4)

    def check_scale(self, scale: int) -> None:
        """Raise UsageError if pictures would be too large, enlarged so much."""
        height, width = self.model.size
        most = max(1, MAX_SIDE // max(height, width))
        if not 1 <= scale <= most:
            raise UsageError(f"scale must lie in 1..{most} for pictures of {height}×{width}, got {scale}.")

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise UsageError if the model cannot paint ``recipe``; costs nothing."""
        for origin in recipe.origins:
            self._source(origin, recipe.look)
        if recipe.mixed is not None:
            rows_of(recipe.layers, self.model.num_ws)
        for one in self._moves(recipe):
            one.text(self.model.num_ws)  # says which rows are not there

    # ---- painting

    def paint(self, orders: Sequence[Order]) -> list[Painted]:
        """Paint a batch of one kind."""
        model = self._fast if orders[0].fast else self.model
        recipes = [order.recipe for order in orders]
        mode = recipes[0].look.noise_mode
        images = model.images(
            self.ws(recipes, model),
            noise_mode=mode,
            noise_seeds=[self._noise_seed(recipe) for recipe in recipes] if mode == "random" else None,
            noise_maps=self._noise(recipes) if any(map(_brings_noise, recipes)) else None,
        )
        return [
            Painted(picture, order, self._provenance(order.recipe))
            for picture, order in zip(pictures_of(images), orders, strict=True)
        ]

    def ws(self, recipes: Sequence[Recipe], model: Model | None = None) -> Tensor:
        """Return the latents of ``recipes``, [N, num_ws, w_dim]; seeds of one look are mapped together."""
        model = model or self.model
        found: dict[tuple[Look, Origin], Tensor] = {}
        seeds: dict[Look, list[int]] = {}
        for recipe in recipes:
            for origin in recipe.origins:
                if isinstance(origin, Kept):
                    found[recipe.look, origin] = origin.latents.ws.to(model.device)
                else:
                    seeds.setdefault(recipe.look, []).append(origin)
        for look, numbers in seeds.items():
            mapped = open_source(model, numbers, look).ws(0, len(numbers))
            found.update(((look, seed), row[None]) for seed, row in zip(numbers, mapped, strict=True))
        rows = []
        for recipe in recipes:
            row = found[recipe.look, recipe.origin]
            if recipe.mixed is not None:
                row = mix(row, found[recipe.look, recipe.mixed], rows_of(recipe.layers, model.num_ws))
            for one in self._moves(recipe):
                row = move(row, one.direction, one.strength, one.layers)
            rows.append(row)
        return torch.cat(rows)

    def latents(self, recipes: Sequence[Recipe]) -> Latents:
        """Return the latents of ``recipes`` as a file keeps them: painted from it they are the same pictures."""
        own = all(recipe.look.noise_mode == "const" and not _brings_noise(recipe) for recipe in recipes)
        names = tuple(recipe.name for recipe in recipes)
        record = (
            self._provenance(recipes[0])
            if len(recipes) == 1
            else Provenance(model_hash=self.model.model_hash, licence=self.model.licence, kind="latents", latents=names)
        )
        if all(isinstance(one.origin, Kept) and one.name == one.origin.name and one.name.endswith(PROJECTED)
               for one in recipes):  # fmt: skip
            record = replace(record, kind="projection")
        noise = {} if own else self._noise(recipes)
        return Latents(ws=self.ws(recipes).cpu(), noise=noise, names=names, provenance=record)

    # ---- parts

    def _source(self, origin: Origin, look: Look) -> LatentSource:
        return open_source(self.model, origin.latents if isinstance(origin, Kept) else [origin], look)

    def _noise_seed(self, recipe: Recipe) -> int:
        return self._source(recipe.origin, recipe.look).noise_seed(0)

    def _noise(self, recipes: Sequence[Recipe]) -> dict[str, Tensor]:
        """Return the noise maps each recipe is painted with, [N, H, W] by layer."""
        names, synthesis = self.model.noise_names, self.model.generator.synthesis
        stored = [maps.detach().cpu() for maps in synthesis.noise_consts()]
        parts: list[list[Tensor]] = []
        for recipe in recipes:
            mode = recipe.look.noise_mode
            if mode == "random":
                drawn = self.model.noise([self._noise_seed(recipe)], 1)
                parts.append([maps[0, 0].cpu() for maps in drawn])
            elif mode == "none":
                parts.append([torch.zeros_like(maps) for maps in stored])
            elif isinstance(recipe.origin, Kept) and _brings_noise(recipe):
                brought = recipe.origin.latents.noise
                parts.append([brought[name][0] for name in names])
            else:
                parts.append(stored)
        return {name: torch.stack([part[i] for part in parts]) for i, name in enumerate(names)}

    def _moves(self, recipe: Recipe) -> tuple[Move, ...]:
        """Return the moves of a recipe. Raises: UsageError for a direction that is not there."""
        if not recipe.changes:
            return ()
        if self.directions is None:
            raise UsageError("This model has no editing directions; 'capriccio directions' finds them.")
        return moves_of(recipe.changes, self.directions)

    def _provenance(self, recipe: Recipe) -> Provenance:
        look, num_ws = recipe.look, self.model.num_ws
        record = provenance_of(self.model, look, self._source(recipe.origin, look), 0, 1)
        if recipe.mixed is not None:
            other = self._source(recipe.mixed, look)
            record = replace(record, kind="mix", mixed_layers=rows_of(recipe.layers, num_ws),
                             mixed_seeds=other.seeds(0, 1), mixed_latents=other.names(0, 1))  # fmt: skip
        if recipe.changes:
            record = replace(record, kind="edit", edits=tuple(one.text(num_ws) for one in self._moves(recipe)))
        return record


def _brings_noise(recipe: Recipe) -> bool:
    """Whether a recipe is painted with noise maps of its own: a mixture of two pictures has those of neither."""
    kept = isinstance(recipe.origin, Kept) and bool(recipe.origin.latents.noise)
    return kept and recipe.mixed is None and recipe.look.noise_mode == "const"
