"""Chance for the painter: numbers that belong to one picture each, and fractal textures to sample from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
"""Always float32; NumPy's types cannot say so through arithmetic."""

_SIDE = 512
"""Texels along a side of a texture; a power of two."""
_PROFILES = 64
_NUMBERS = 160
"""Random numbers each picture owns; the painter takes fewer."""


class Dice:
    """Random numbers for a batch of pictures, where row i depends on the seed and the number of picture i alone.

    Every call takes the next column of a table, so all pictures use the same column for the same purpose.
    """

    def __init__(self, seed: int, numbers: Sequence[int]) -> None:
        rows = [np.random.default_rng([seed, number]).random(_NUMBERS, dtype=np.float32) for number in numbers]
        self._table = np.stack(rows)
        self._column = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Array:
        """Return one number per picture from [low, high), [N]."""
        column = self._table[:, self._column]
        self._column += 1
        return column * np.float32(high - low) + np.float32(low)

    def chance(self, probability: float) -> NDArray[np.bool_]:
        """Return True with the given probability, [N]."""
        return np.asarray(self.uniform() < probability)

    def choice(self, weights: Sequence[float]) -> NDArray[np.int64]:
        """Return an index with probability proportional to its weight, [N]."""
        edges = np.cumsum(weights) / np.sum(weights)
        return np.minimum(np.searchsorted(edges, self.uniform(), side="right"), len(weights) - 1)


@dataclass(frozen=True, slots=True)
class Textures:
    """Periodic fractal noise of mean 0 and standard deviation 1."""

    cloud: Array
    """Soft billows, [512, 512]."""
    rock: Array
    """Crests and gullies, [512, 512]."""
    light: Array
    """The slope of ``rock`` from left to right: how much light from the left it gets, [512, 512]."""
    grain: Array
    """Fine irregularity, nearly white, [512, 512]."""
    profiles: Array
    """Heights along a line, [64, 512]."""


@cache
def textures() -> Textures:
    """Return the textures; they are the same for all pictures, which take different parts of them."""
    rng = np.random.default_rng(20191203)
    cloud = _fractal(rng, (_SIDE, _SIDE), 1.75)
    crests = [1 - np.abs(_fractal(rng, (_SIDE, _SIDE), 1.9)) for _ in range(2)]
    rock = _standard(crests[0] + 0.5 * crests[1] * (crests[0] > 0) + 0.25 * _fractal(rng, (_SIDE, _SIDE), 1.4))
    light = _standard(np.clip(_standard(np.roll(rock, -1, axis=1) - np.roll(rock, 1, axis=1)), -2.5, 2.5))
    grain = _fractal(rng, (_SIDE, _SIDE), 0.6)
    profiles = np.stack([_fractal(rng, (_SIDE,), 1.4) for _ in range(_PROFILES)])
    return Textures(cloud=cloud, rock=rock, light=light, grain=grain, profiles=profiles)


def sample(texture: Array, x: Array, y: Array) -> Array:
    """Return a periodic texture at (x, y), counted in periods, by bilinear interpolation; shapes broadcast."""
    left, right, across = _neighbours(x)
    top, bottom, down = _neighbours(y)
    flat = texture.ravel()
    top, bottom = top * _SIDE, bottom * _SIDE
    upper = flat[top + left]
    upper += across * (flat[top + right] - upper)
    lower = flat[bottom + left]
    lower += across * (flat[bottom + right] - lower)
    blended: Array = upper + down * (lower - upper)
    return blended


def sample_profile(rows: NDArray[np.int64], x: Array) -> Array:
    """Return the profile ``rows`` [N] at ``x`` [N, W], counted in periods, by linear interpolation."""
    left, right, across = _neighbours(x)
    flat = textures().profiles.ravel()
    start = (rows % _PROFILES * _SIDE)[:, None]
    first, second = flat[start + left], flat[start + right]
    blended: Array = first + across * (second - first)
    return blended


def _neighbours(x: Array) -> tuple[NDArray[np.int32], NDArray[np.int32], Array]:
    texels = x * np.float32(_SIDE)
    floor = np.floor(texels)
    index = floor.astype(np.int32)
    return index & (_SIDE - 1), (index + 1) & (_SIDE - 1), texels - floor


def _fractal(rng: np.random.Generator, shape: tuple[int, ...], exponent: float) -> Array:
    """Return periodic noise whose spectrum falls as frequency to the minus ``exponent``."""
    frequencies = np.meshgrid(*(np.fft.fftfreq(side) for side in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in frequencies))
    radius.flat[0] = np.inf
    spectrum = np.fft.fftn(rng.standard_normal(shape)) * radius**-exponent
    return _standard(np.fft.ifftn(spectrum).real)


def _standard(values: NDArray[np.floating]) -> Array:
    standard: Array = ((values - values.mean()) / values.std()).astype(np.float32)
    return standard
