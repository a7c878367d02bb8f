"""What happens to each picture of a batch: random numbers, gated by p, or the quantiles of their distributions.

Source: the ADA paper, appendix B.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from capriccio.augmentation.pipes import color_is_possible
from capriccio.config import Transformations
from capriccio.errors import ShapeError


class GeometryParameters(NamedTuple):
    """Where pixels come from. What was not applied to a picture has the value that changes nothing."""

    xflip: Tensor
    """[N], 0 or 1 (mirrored)."""
    quarter_turns: Tensor
    """[N], 0…3, counter-clockwise as seen."""
    shift_px: Tensor
    """[N, 2], whole pixels to the right and down."""
    scale: Tensor
    """[N], above 1 enlarges."""
    rotate_before: Tensor
    """[N], radians, before the picture is stretched."""
    aniso: Tensor
    """[N], above 1 widens, and flattens as much."""
    rotate_after: Tensor
    """[N], radians, after it was stretched."""
    shift: Tensor
    """[N, 2], to the right and down, as a share of width and height."""


class ColorParameters(NamedTuple):
    """What happens to colours."""

    brightness: Tensor
    """[N], added to every channel."""
    contrast: Tensor
    """[N], factor."""
    lumaflip: Tensor
    """[N], 0 or 1 (light becomes dark)."""
    hue: Tensor
    """[N], radians about the grey axis."""
    saturation: Tensor
    """[N], factor."""


class NoiseParameters(NamedTuple):
    """Noise on every pixel."""

    sigma: Tensor
    """[N], its deviation."""
    noise: Tensor
    """[N, C, H, W], standard normal."""


class CutoutParameters(NamedTuple):
    """A grey rectangle."""

    size: Tensor
    """[N], side as a share of the picture; 0 = none."""
    center: Tensor
    """[N, 2], x and y as shares of the picture."""


class Parameters(NamedTuple):
    """All of it; None = this part of the pipeline is switched off."""

    geometry: GeometryParameters | None = None
    color: ColorParameters | None = None
    band_gains: Tensor | None = None
    """[N, 4], factor of each band of spatial frequencies, from coarse to fine."""
    noise: NoiseParameters | None = None
    cutout: CutoutParameters | None = None


Size = tuple[int, int, int]
"""(channels, height, width)"""


def draw(chosen: Transformations, p: float, count: int, size: Size, rng: torch.Generator) -> Parameters:
    """Draw what happens to ``count`` pictures.

    The same random numbers are drawn whatever p is: a picture that is changed at a small p is changed in the same way
    at a larger one.

    Args:
        chosen: multipliers and ranges.
        p: probability of every transformation, before its multiplier.
        count: number of pictures.
        size: channels, height and width of the pictures.
        rng: source of randomness, on the CPU.
    """
    return _parameters(chosen, _Random(p, count, rng), size)


def quantiles(chosen: Transformations, q: float, count: int, size: Size, noise: Tensor | None = None) -> Parameters:
    """Return for all of ``count`` pictures the q-quantile of every distribution; every transformation is applied.

    Deterministic, for tests and sheets of examples. A normal quantile lacks the factor √2, as in the ADA program.

    Args:
        chosen: multipliers and ranges.
        q: quantile, between 0 and 1.
        count: number of pictures.
        size: channels, height and width of the pictures.
        noise: standard normal images [N, C, H, W], needed where noise is enabled.
    """
    return _parameters(chosen, _Quantile(torch.tensor(q, dtype=torch.float32), count, noise), size)


class _Source(Protocol):
    """Where the numbers for N pictures come from."""

    def uniform(self, width: int) -> Tensor:
        """Return [N, width], uniform in 0…1."""
        ...

    def normal(self, width: int) -> Tensor:
        """Return [N, width], standard normal."""
        ...

    def half_normal(self) -> Tensor:
        """Return [N, 1], the magnitude of a standard normal number."""
        ...

    def images(self, size: Size) -> Tensor:
        """Return [N, C, H, W], standard normal."""
        ...

    def applied(self, multiplier: float) -> Tensor:
        """Return [N, 1] bool, whether a transformation happens to each picture."""
        ...

    def turned(self, multiplier: float) -> tuple[Tensor, Tensor]:
        """Return twice [N, 1] bool, for the rotations before and after the stretching."""
        ...


def _parameters(chosen: Transformations, source: _Source, size: Size) -> Parameters:
    def gated(multiplier: float, value: Tensor, neutral: float = 0.0) -> Tensor:
        return torch.where(source.applied(multiplier), value, neutral)

    def stretched(multiplier: float, std: float) -> Tensor:
        return gated(multiplier, torch.exp2(source.normal(1) * std), 1.0)[:, 0]

    geometry = color = bands = noise = cutout = None
    if chosen.has_geometry:
        before, after = source.turned(chosen.rotate)
        extent = torch.tensor([size[2], size[1]], dtype=torch.float32)
        half_turn = math.pi * chosen.rotate_max
        geometry = GeometryParameters(
            xflip=gated(chosen.xflip, (source.uniform(1) * 2).floor())[:, 0],
            quarter_turns=gated(chosen.rotate90, (source.uniform(1) * 4).floor())[:, 0],
            shift_px=torch.round(gated(chosen.xint, (source.uniform(2) * 2 - 1) * chosen.xint_max) * extent),
            scale=stretched(chosen.scale, chosen.scale_std),
            rotate_before=torch.where(before, (source.uniform(1) * 2 - 1) * half_turn, 0.0)[:, 0],
            aniso=stretched(chosen.aniso, chosen.aniso_std),
            rotate_after=torch.where(after, (source.uniform(1) * 2 - 1) * half_turn, 0.0)[:, 0],
            shift=gated(chosen.xfrac, source.normal(2) * chosen.xfrac_std),
        )
    if chosen.has_color and color_is_possible(size[0]):
        color = ColorParameters(
            brightness=gated(chosen.brightness, source.normal(1) * chosen.brightness_std)[:, 0],
            contrast=stretched(chosen.contrast, chosen.contrast_std),
            lumaflip=gated(chosen.lumaflip, (source.uniform(1) * 2).floor())[:, 0],
            hue=gated(chosen.hue, (source.uniform(1) * 2 - 1) * (math.pi * chosen.hue_max))[:, 0],
            saturation=stretched(chosen.saturation, chosen.saturation_std),
        )
    if chosen.imgfilter > 0:
        gains = [stretched(chosen.imgfilter * band, chosen.imgfilter_std) for band in chosen.imgfilter_bands]
        bands = torch.stack(gains, dim=1)
    if chosen.noise > 0:
        sigma = gated(chosen.noise, source.half_normal() * chosen.noise_std)[:, 0]
        noise = NoiseParameters(sigma, source.images(size))
    if chosen.cutout > 0:
        side = torch.full_like(source.uniform(1), chosen.cutout_size)
        cutout = CutoutParameters(gated(chosen.cutout, side)[:, 0], source.uniform(2))
    return Parameters(geometry, color, bands, noise, cutout)


@dataclass(frozen=True)
class _Random:
    p: float
    count: int
    rng: torch.Generator

    def uniform(self, width: int) -> Tensor:
        return torch.rand(self.count, width, generator=self.rng)

    def normal(self, width: int) -> Tensor:
        return torch.randn(self.count, width, generator=self.rng)

    def half_normal(self) -> Tensor:
        return self.normal(1).abs()

    def images(self, size: Size) -> Tensor:
        return torch.randn(self.count, *size, generator=self.rng)

    def applied(self, multiplier: float) -> Tensor:
        return self.uniform(1) < multiplier * self.p

    def turned(self, multiplier: float) -> tuple[Tensor, Tensor]:
        # At least one of the two rotations happens with probability multiplier·p.
        each = 1 - math.sqrt(min(max(1 - multiplier * self.p, 0.0), 1.0))
        return self.uniform(1) < each, self.uniform(1) < each


@dataclass(frozen=True)
class _Quantile:
    q: Tensor
    """Scalar, float32."""
    count: int
    noise: Tensor | None

    def uniform(self, width: int) -> Tensor:
        return self.q.expand(self.count, width)

    def normal(self, width: int) -> Tensor:
        return torch.erfinv(self.q * 2 - 1).expand(self.count, width)

    def half_normal(self) -> Tensor:
        return torch.erfinv(self.q).expand(self.count, 1)

    def images(self, size: Size) -> Tensor:
        if self.noise is None or self.noise.shape != (self.count, *size):
            raise ShapeError(f"quantiles with noise need standard normal images {[self.count, *size]}.")
        return self.noise

    def applied(self, multiplier: float) -> Tensor:
        return torch.full((self.count, 1), multiplier > 0)

    def turned(self, multiplier: float) -> tuple[Tensor, Tensor]:
        return self.applied(multiplier), self.applied(0.0)
