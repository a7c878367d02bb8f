"""What a picture is made from, and which file is wanted of it: what an address says, not how it is done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from capriccio import __version__
from capriccio.latent.directions import Change
from capriccio.provenance import PictureFormat
from capriccio.rendering.look import Look
from capriccio.studio.kept import Kept

Origin = int | Kept
"""Where a picture comes from: a seed, or a latent that was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a picture is made from."""

    origin: Origin
    """Seed or latent of the picture."""
    look: Look = field(default_factory=Look)
    """From seed to picture; kept latents are taken as they are."""
    mixed: Origin | None = None
    """Whose styles are mixed in; None = nobody's."""
    layers: str = "coarse"
    """Which latent rows come from it; see :data:`capriccio.latent.mixing.Layers`."""
    changes: tuple[Change, ...] = ()
    """What is changed along editing directions, after mixing."""

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The picture's own, then the one that is mixed in."""
        return (self.origin,) if self.mixed is None else (self.origin, self.mixed)

    @property
    def name(self) -> str:
        """What people call the picture, as latents files write it: "seed 5 with fine of beach, projected"."""
        name = " with ".join(
            f"{self.layers} of {name_of(one)}" if place else name_of(one) for place, one in enumerate(self.origins)
        )
        return ", ".join([name, *(change.text for change in self.changes)])

    @property
    def stem(self) -> str:
        """Name of its file without the ending: "seed0005", "seed0005_seed0009", "latent-w3f9a0c1"."""
        return "_".join(f"seed{one:04d}" if isinstance(one, int) else f"latent-{one.id[:8]}" for one in self.origins)


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


def name_of(origin: Origin) -> str:
    """Return what people call an origin."""
    return f"seed {origin}" if isinstance(origin, int) else origin.name
