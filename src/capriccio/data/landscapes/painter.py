"""Painting landscapes from back to front: sky, sun, clouds, ridges, forest, water, meadow, light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capriccio.data.landscapes.noise import Array, Dice, sample, sample_profile, textures
from capriccio.data.landscapes.palettes import Palette, choose_palette

_NUM_RIDGES = 4
_CACHED_PIXELS = 1 << 16
"""So many pixels are painted together that the canvas stays in the processor's cache: twice as fast as 2^18."""
_EVENLY = (1,) * 64


def paint(numbers: Sequence[int], size: tuple[int, int], *, seed: int = 0) -> NDArray[np.uint8]:
    """Paint landscapes.

    Args:
        numbers: which pictures of the endless series that ``seed`` has; a picture does not depend on its batch.
        size: (height, width) in pixels; the same scene is painted at any size of the same aspect.
        seed: of the series.

    Returns: uint8 [N, 3, H, W].
    """
    together = max(1, _CACHED_PIXELS // (size[0] * size[1]))
    parts = [_paint(numbers[i : i + together], size, seed) for i in range(0, len(numbers), together)]
    return np.concatenate(parts) if parts else np.empty((0, 3, *size), np.uint8)


def _paint(numbers: Sequence[int], size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    dice = Dice(seed, numbers)
    scene = _Scene.draw(dice, size)
    canvas = _sky(scene, dice)
    _clouds(canvas, scene, dice)
    for layer in range(_NUM_RIDGES):
        _ridge(canvas, scene, dice, layer)
    _forest_edge(canvas, scene, dice)
    _meadow(canvas, scene, dice)
    _water(canvas, scene, dice)
    _foreground_trees(canvas, scene, dice)
    _finish(canvas, scene, dice)
    return np.clip(np.rint(canvas * 255), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the elements of a picture have in common. Heights are v: 0 = top, 1 = bottom; widths are u, in heights."""

    u: Array
    """[1, 1, W], 0 in the middle."""
    v: Array
    """[1, H, 1]"""
    palette: Palette
    horizon: Array
    """v of the horizon, [N, 1, 1]."""
    sun_u: Array
    sun_v: Array
    alpine: Array
    """0 = plain, 1 = high mountains, [N, 1, 1]."""
    haziness: Array
    has_water: Array
    """0 or 1, [N, 1, 1]."""
    shore: Array
    """v where the water begins, [N, 1, 1]."""

    @classmethod
    def draw(cls, dice: Dice, size: tuple[int, int]) -> _Scene:
        height, width = size
        palette = choose_palette(dice)
        horizon = _each(dice.uniform(0.38, 0.68))
        has_water = _each(dice.chance(0.55))
        half = 0.5 * width / height
        sun_u = _each(dice.uniform(-1.3, 1.3)) * np.float32(half)
        sun_v = horizon * (1 - _each(palette.sun_height + dice.uniform(-0.05, 0.1)))
        u = ((np.arange(width, dtype=np.float32) + 0.5) / height - half)[None, None, :]
        v = ((np.arange(height, dtype=np.float32) + 0.5) / height)[None, :, None]
        return cls(
            u=u.astype(np.float32), v=v.astype(np.float32), palette=palette, horizon=horizon, sun_u=sun_u, sun_v=sun_v,
            alpine=_each(dice.uniform() ** 0.8), haziness=_each(dice.uniform(0.35, 1.0)), has_water=has_water,
            shore=horizon + _each(dice.uniform(0.02, 0.09)),
        )  # fmt: skip

    def cover(self, edge: Array) -> Array:
        """Return how much of each pixel lies below ``edge`` (v), [N, H, W] in 0…1: an antialiased outline."""
        return _clip((self.v - edge) * self.v.shape[1] + 0.5)


def _sky(scene: _Scene, dice: Dice) -> Array:
    """Return the canvas [N, 3, H, W] with the gradient of the sky, the glow and the disc of the sun."""
    colours = scene.palette
    up = _clip(1 - scene.v / scene.horizon)[:, None]  # 0 at the horizon, 1 at the top
    canvas = _mix(colours.horizon, colours.sky, _smooth(up / 0.45))
    gradient = _mix(canvas, colours.zenith, _smooth((up - 0.25) / 0.9))
    canvas = np.repeat(gradient, scene.u.shape[2], axis=3)
    across, down = scene.u - scene.sun_u, scene.v - scene.sun_v
    distance = np.sqrt(across**2 + (1.35 * down) ** 2)[:, None]
    glow = 0.55 * np.exp(-distance * 5) + 0.3 * np.exp(-np.abs(down)[:, None] * 9 - np.abs(across)[:, None] * 1.6)
    canvas += glow * (colours.sun - canvas)
    radius = _each(dice.uniform(0.018, 0.042))[:, None]
    disc = _clip((radius - np.sqrt(across**2 + down**2)[:, None]) * scene.v.shape[1] + 0.5)
    canvas += disc * _each(colours.disc)[:, None] * (np.minimum(colours.sun * 1.06, 1) - canvas)
    return canvas


def _clouds(canvas: Array, scene: _Scene, dice: Dice) -> None:
    """Lay clouds over the sky: flat and crowded near the horizon, large overhead, lit from the side of the sun."""
    colours, noise = scene.palette, textures()
    away = 1 / (np.maximum(scene.horizon - scene.v, 0) + 0.16)
    scale, flatness = _each(dice.uniform(0.05, 0.11)), _each(dice.uniform(0.8, 2.4))
    x = scene.u * away**0.7 * scale + _each(dice.uniform())
    y = away * scale * flatness + _each(dice.uniform())
    density = sample(noise.cloud, x, y) + 0.40 * sample(noise.cloud, 3.1 * x, 3.1 * y)
    density += 0.16 * sample(noise.cloud, 8.3 * x, 8.3 * y)
    threshold, softness = _each(dice.uniform(-0.9, 1.3)), _each(dice.uniform(0.35, 1.6))
    cover = _smooth((density - threshold) / softness)
    toward_sun = 0.02 * _clip((scene.sun_u - scene.u) * 3, -1, 1)
    thickness = sample(noise.cloud, x + toward_sun, y + 0.025)
    shade = _clip(0.72 + 0.75 * (density - thickness) - 0.20 * np.maximum(density - threshold, 0))[:, None]
    near_sun = np.exp(-np.abs(scene.v - scene.sun_v) * 3 - np.abs(scene.u - scene.sun_u))[:, None]
    bright = _mix(np.minimum(0.35 * colours.horizon + 0.65 * colours.sun, 1), colours.sun, near_sun)
    dark = 0.5 * colours.sky + 0.3 * colours.zenith + 0.12 * colours.light
    fade = _smooth((scene.horizon - scene.v) / 0.10)
    canvas += (cover * fade * _each(dice.uniform(0.65, 1.0)))[:, None] * (_mix(dark, bright, shade) - canvas)


def _ridge(canvas: Array, scene: _Scene, dice: Dice, layer: int) -> None:
    """Add one chain of mountains or hills; the farther, the more of the air's colour it takes on."""
    colours, noise = scene.palette, textures()
    near = layer / (_NUM_RIDGES - 1)
    alpine = scene.alpine * np.float32(1 - 0.75 * near)
    base = scene.horizon + np.float32(0.015 + 0.09 * near**1.5) + _each(dice.uniform(-0.02, 0.03))
    frequency = _each(dice.uniform(0.13, 0.36)) * np.float32(1 - 0.35 * near)
    row, offset = dice.choice(_EVENLY), _each(dice.uniform())
    line = sample_profile(row, (scene.u * frequency + offset)[:, 0])[:, None]
    crags = sample_profile(row + 7, (scene.u * frequency * 2.3 + offset)[:, 0])[:, None]
    peaks = (1.1 - np.abs(line)) * 0.75 + 0.22 * (0.8 - np.abs(crags))
    height = _each(dice.uniform(0.04, 0.17)) + alpine * _each(dice.uniform(0.08, 0.34))
    outline = base - height * _mix(0.35 + 0.4 * line, peaks, _clip(alpine * 1.6)) + np.float32(0.04 * near)
    if layer > 0:  # some nearer chains are left out: they stand below the picture
        outline = outline + np.float32(0.5) * _each(dice.chance(0.18))

    below = np.maximum(scene.v - outline, 0)
    x = scene.u * 0.30 + offset + 0.10 * below
    y = below * 0.34 - outline * 0.22 + offset * 3
    relief = sample(noise.rock, x, y)
    lit = sample(noise.light, x, y) * np.sign(-scene.sun_u)
    shade = (1 + (0.13 + 0.20 * alpine) * lit + 0.07 * relief)[:, None]

    wooded = _smooth((below / np.maximum(height, 0.05) - 0.25 + 0.25 * relief) * 1.4 + np.float32(near - 0.3))
    green = _mix(colours.forest, colours.meadow, _clip(0.30 + 0.22 * relief)[:, None])
    land = _mix(_mix(green, colours.rock, _clip(alpine * 1.3)[:, None]), green, wooded[:, None])
    snow_line = scene.horizon - 0.20 + 0.30 * _each(colours.snow)
    snow = _smooth((snow_line - scene.v + 0.035 * relief + 0.02 * lit) * 14) * _clip(alpine * 2.2 - 0.25)
    land = _mix(land, np.float32(0.96), (snow * 0.92)[:, None]) * shade * colours.light
    distance = (1 - near) ** 1.15 * (0.42 + 0.48 * scene.haziness)
    mist = np.float32(0.55 * (1 - 0.7 * near)) * scene.haziness * _smooth(below / 0.16)
    air = _clip(distance + mist * (1 - distance), 0, 0.97)[:, None]
    canvas += scene.cover(outline)[:, None] * (_mix(land, colours.haze, air) - canvas)


def _forest_edge(canvas: Array, scene: _Scene, dice: Dice) -> None:
    """Add a strip of trees where land meets meadow or water."""
    strength = _each(dice.chance(0.7))
    base = scene.shore + 0.012
    size = _each(dice.uniform(0.035, 0.10))
    crowns = _tree_line(scene, dice, size, 26)
    swell = sample_profile(dice.choice(_EVENLY), (scene.u * 0.4 + _each(dice.uniform()))[:, 0])[:, None]
    growth = _smooth((swell + _each(dice.uniform(-0.2, 1.8))) * 1.5)
    outline = base + 0.02 - growth * (0.02 + size * (0.35 + 0.2 * swell) + crowns * _clip(0.8 + 0.5 * swell, 0, 1.4))
    _plant(canvas, scene, outline, strength, 0.16 + 0.25 * scene.haziness, dice)


def _foreground_trees(canvas: Array, scene: _Scene, dice: Dice) -> None:
    """Frame some pictures with large trees on one side."""
    strength = _each(dice.chance(0.32))
    side = 2 * _each(dice.chance(0.5)) - 1
    half = np.float32(-scene.u[0, 0, 0])
    reach = _smooth((side * scene.u / half - _each(dice.uniform(0.0, 0.5))) * 2.2)
    size = _each(dice.uniform(0.22, 0.42))
    crowns = _tree_line(scene, dice, size, 9)
    outline = 1.02 - reach * (crowns + 0.10)
    _plant(canvas, scene, outline, strength * np.minimum(reach * 8, 1), 0.03 * scene.haziness, dice)


def _tree_line(scene: _Scene, dice: Dice, size: Array, count: int) -> Array:
    """Return the height of a row of trees above the ground, [N, 1, W]: firs or broad crowns, [N] each its own kind."""
    half = np.float32(-scene.u[0, 0, 0])
    row, offset = dice.choice(_EVENLY), _each(dice.uniform())
    places = np.linspace(-half, half, count, dtype=np.float32)[None, None]
    jitter = sample_profile(row, (places * 7.3 + offset)[:, 0])[:, None]
    heights = size * _clip(0.75 + 0.28 * sample_profile(row + 1, (places * 9.1 + offset)[:, 0])[:, None], 0.25, 1.5)
    centres = places + 0.6 * half / count * jitter
    distance = np.abs(scene.u[..., None] - centres[:, :, None, :])
    fir = _each(dice.chance(0.55))[..., None]
    width = heights[:, :, None, :] * _mix(np.float32(0.42), np.float32(0.20), fir)
    inside = _clip(1 - distance / width)
    boughs = 1 + 0.12 * np.sin(inside * 22)
    crown = _mix(np.sqrt(inside * (2 - inside)), inside * boughs, fir)
    return np.asarray((heights[:, :, None, :] * crown).max(axis=-1))


def _plant(canvas: Array, scene: _Scene, outline: Array, strength: Array, air: Array, dice: Dice) -> None:
    """Fill the outline of trees with foliage, darker towards the ground; ``air`` is how hazy they are, [N, 1, 1]."""
    colours, noise = scene.palette, textures()
    below = np.maximum(scene.v - outline, 0)
    x, y = scene.u * 0.9 + _each(dice.uniform()), scene.v * 0.9
    leaves = sample(noise.grain, x, y) + 0.5 * sample(noise.cloud, 3 * x, 3 * y)
    outline = outline + 0.012 * leaves
    tone = _clip(0.42 + 0.20 * leaves - 2.2 * below + 0.1 * below / (below + 0.01))[:, None]
    foliage = _mix(0.72 * colours.forest, colours.forest_bright, tone) * colours.light
    canvas += (scene.cover(outline) * strength)[:, None] * (_mix(foliage, colours.haze, air[:, None]) - canvas)


def _meadow(canvas: Array, scene: _Scene, dice: Dice) -> None:
    """Add the ground in front, its texture drawn out towards the horizon; under water it is painted over."""
    colours, noise = scene.palette, textures()
    swell = sample_profile(dice.choice(_EVENLY), (scene.u * 0.25 + _each(dice.uniform()))[:, 0])[:, None]
    edge = scene.shore + 0.02 + swell * _mix(_each(dice.uniform(0.01, 0.055)), np.float32(0.012), scene.has_water)
    depth = np.maximum(scene.v - edge, 0)
    away = 1 / (np.maximum(scene.v - scene.shore, 0) + 0.09)
    x = scene.u * away * 0.035 + _each(dice.uniform())
    y = away * 0.09 + scene.u * 0.05 + _each(dice.uniform())
    patches, blades = sample(noise.cloud, x, y), sample(noise.grain, 2.0 * x, 0.8 * y)
    tone = _clip(0.45 + 0.34 * patches + 0.08 * blades)[:, None]
    ground = _mix(colours.meadow, colours.meadow_dry, tone)
    ground = _mix(ground, 0.8 * colours.forest, _smooth((-patches - 0.7) * 1.5)[:, None] * 0.6)
    ground = ground * colours.light * (1.02 - 0.35 * depth + 0.035 * blades + 0.05 * patches)[:, None]
    warm = np.exp(-np.abs(scene.u - scene.sun_u) * 2.2) * np.exp(-depth * 5)
    ground = _mix(ground, colours.sun, (0.22 * warm)[:, None])
    air = (0.30 * scene.haziness * np.exp(-depth * 7))[:, None]
    canvas += scene.cover(edge)[:, None] * (_mix(ground, colours.haze, air) - canvas)


def _water(canvas: Array, scene: _Scene, dice: Dice) -> None:
    """Cover the ground with a lake or a river that mirrors what stands above, broken by ripples and sun glitter."""
    colours, noise = scene.palette, textures()
    height = canvas.shape[2]
    depth = np.maximum(scene.v - scene.shore, 0)
    away = 1 / (depth + 0.05)
    x = scene.u * away * 0.05 + _each(dice.uniform())
    y = away * 0.20 + _each(dice.uniform())
    ripples = sample(noise.grain, x, y)
    rough = _each(dice.uniform(0.0, 1.0)) ** 1.5
    mirrored = scene.shore - depth * 0.92 + rough * 0.05 * ripples * np.minimum(depth * 8, 1)
    rows = np.clip(np.rint(mirrored * height - 0.5), 0, height - 1).astype(np.int64)
    reflection = np.take_along_axis(canvas, rows[:, None], axis=2)
    deep = 0.45 * colours.zenith * colours.light + 0.10 * colours.sky
    water = _mix(reflection * 0.93, deep, _clip(0.12 + 0.75 * depth + 0.10 * rough * ripples, 0, 0.8)[:, None])
    column = np.exp(-(((scene.u - scene.sun_u) / (0.05 + 0.30 * depth)) ** 2))
    glitter = column * _smooth((ripples - 0.2) * 1.3) * _clip(1.1 - scene.sun_v / scene.horizon * 0.3)
    water = _mix(water, colours.sun, (0.5 * glitter * (0.35 + 0.65 * _each(colours.disc)))[:, None])
    water += (0.035 * rough * ripples)[:, None] * colours.horizon

    lake = scene.cover(scene.shore)
    bends = sample_profile(dice.choice(_EVENLY), (away * 0.035)[:, :, 0] + dice.uniform()[:, None])[:, :, None]
    open_width = _mix(np.float32(9), 0.012 + 0.55 * depth, _each(dice.chance(0.35)))
    middle = _each(dice.uniform(-0.3, 0.3)) + 0.5 * bends * (0.05 + depth)
    river = _clip((open_width - np.abs(scene.u - middle)) * height * 0.6 + 0.5)
    cover = lake * river * scene.has_water
    canvas += cover[:, None] * (water - canvas)
    line = np.exp(-(((scene.v - scene.shore) * 90) ** 2)) * scene.has_water * river * 0.25
    canvas += line[:, None] * (colours.haze - canvas)


def _finish(canvas: Array, scene: _Scene, dice: Dice) -> None:
    """Grade the whole: contrast, a darker border, and the grain of paper."""
    contrast = _each(dice.uniform(0.95, 1.18))[:, None]
    canvas -= 0.5
    canvas *= contrast
    canvas += 0.5
    border = (scene.u / -scene.u[0, 0, 0]) ** 2 + (2 * scene.v - 1) ** 2
    canvas *= (1 - 0.05 * border)[:, None]
    grain = sample(textures().grain, scene.u * 1.7 + _each(dice.uniform()), scene.v * 1.7 + _each(dice.uniform()))
    canvas += 0.005 * grain[:, None]


def _each(values: NDArray[np.generic]) -> Array:
    """Give one value per picture the shape [N, 1, 1]; a truth value becomes 0 or 1."""
    return values.astype(np.float32)[:, None, None]


def _clip(t: Array, low: float = 0.0, high: float = 1.0) -> Array:
    return np.asarray(np.clip(t, low, high), dtype=np.float32)


def _mix(first: Array | np.float32, second: Array | np.float32, weight: Array | np.float32) -> Array:
    """Return ``first`` where the weight is 0 and ``second`` where it is 1."""
    return np.asarray(first + weight * (second - first))


def _smooth(t: Array) -> Array:
    """Return 0 below 0, 1 above 1 and a soft step between."""
    t = _clip(t)
    return np.asarray(t * t * (3 - 2 * t))
