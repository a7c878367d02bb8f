"""Colours of hours and seasons."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from capriccio.data.landscapes.noise import Array, Dice

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Hour:
    """Light of one time of day and weather; colours as 8-bit sRGB."""

    zenith: Colour
    sky: Colour
    horizon: Colour
    sun: Colour
    light: Colour
    """What the light does to the colour of the land."""
    haze: Colour
    sun_height: float
    """Of the sun above the horizon, as a share of the sky; negative = below."""
    disc: float
    """How clearly the sun is seen as a disc, 0…1."""
    weight: float
    """How often it is painted."""


@dataclass(frozen=True, slots=True)
class Season:
    """Colours of the land, 8-bit sRGB in full light."""

    meadow: Colour
    meadow_dry: Colour
    forest: Colour
    forest_bright: Colour
    rock: Colour
    snow: float
    """How far down the snow lies, 0…1."""
    weight: float
    """How often it is painted."""


# zenith, sky, horizon, sun, light, haze; height and disc of the sun, weight
HOURS = (
    Hour(( 12,  18,  42), ( 26,  40,  76), ( 74,  92, 128), (236, 240, 246), ( 84, 102, 150), ( 58,  78, 116),
         0.55, 1, 0.6),
    Hour(( 96, 118, 164), (176, 166, 186), (250, 206, 180), (255, 232, 204), (214, 192, 188), (222, 202, 202),
         0.08, 1, 1.2),
    Hour(( 70, 126, 190), (138, 182, 220), (224, 232, 230), (255, 248, 226), (246, 240, 224), (198, 214, 224),
         0.45, 1, 1.5),
    Hour(( 38,  98, 180), ( 92, 156, 214), (196, 222, 236), (255, 253, 244), (255, 252, 242), (172, 202, 226),
         0.75, 1, 1.8),
    Hour(( 82, 122, 174), (168, 182, 188), (254, 220, 158), (255, 240, 198), (255, 220, 160), (234, 206, 168),
         0.18, 1, 1.6),
    Hour(( 48,  58, 112), (156,  98, 122), (254, 150,  84), (255, 222, 150), (232, 150, 116), (222, 140, 114),
         0.05, 1, 1.3),
    Hour(( 24,  32,  72), ( 84,  76, 124), (222, 136, 130), (252, 196, 164), (126, 110, 148), (142, 112, 144),
         -0.04, 1, 0.9),
    Hour((138, 150, 162), (174, 182, 188), (210, 214, 214), (236, 236, 230), (196, 200, 200), (194, 200, 204),
         0.5, 0, 0.9),
    Hour(( 46,  54,  68), ( 88,  98, 110), (202, 192, 164), (244, 234, 204), (150, 154, 152), (134, 142, 148),
         0.3, 0, 0.8),
)  # fmt: skip
"""Moonlit night, dawn, morning, noon, golden hour, sunset, dusk, overcast, storm."""

SEASONS = (
    Season((120, 150, 62), (176, 172, 86), (38, 76, 42), (86, 122, 54), (118, 108, 100), 0.25, 2.0),
    Season((146, 178, 78), (196, 200, 110), (74, 116, 54), (150, 176, 84), (124, 114, 106), 0.5, 1.2),
    Season((176, 148, 72), (206, 162, 82), (150, 78, 34), (222, 150, 52), (120, 104, 92), 0.4, 1.6),
    Season((226, 233, 242), (200, 212, 228), (52, 68, 74), (150, 166, 176), (100, 104, 114), 1.0, 1.3),
    Season((128, 98, 116), (150, 124, 96), (58, 68, 46), (104, 100, 60), (108, 100, 106), 0.2, 0.7),
    Season((202, 172, 112), (224, 196, 136), (98, 100, 54), (146, 138, 76), (170, 126, 92), 0.0, 1.0),
)
"""Summer, spring, autumn, winter, heath in flower, drought."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a batch of pictures, each [N, 3, 1, 1] in 0…1."""

    zenith: Array
    sky: Array
    horizon: Array
    sun: Array
    light: Array
    haze: Array
    meadow: Array
    meadow_dry: Array
    forest: Array
    forest_bright: Array
    rock: Array
    sun_height: Array
    """[N]"""
    disc: Array
    """[N]"""
    snow: Array
    """[N]"""


def choose_palette(dice: Dice) -> Palette:
    """Draw hour and season for each picture, somewhat mixed with a neighbouring hour and slightly varied."""
    hour = dice.choice([hour.weight for hour in HOURS])
    season = dice.choice([season.weight for season in SEASONS])
    # From dawn to dusk the hours follow each other, so that anything between two is an hour, too.
    follows = (hour >= 1) & (hour <= 5)
    between = np.where(follows, dice.uniform(0.0, 0.6), 0.0).astype(np.float32)
    warmth = dice.uniform(-0.035, 0.035)
    tint = np.stack([1 + warmth, np.ones_like(warmth), 1 - warmth], axis=1)

    def of_hour(name: str) -> Array:
        table = _table(HOURS, name)
        weight = between[:, None] if table.ndim == 2 else between
        return np.asarray(table[hour] + weight * (table[np.minimum(hour + 1, len(HOURS) - 1)] - table[hour]))

    def colour(values: Array) -> Array:
        return np.clip(values * tint / 255, 0, 1).astype(np.float32)[:, :, None, None]

    hours = {field.name: of_hour(field.name) for field in fields(Hour) if field.name != "weight"}
    seasons = {field.name: _table(SEASONS, field.name)[season] for field in fields(Season) if field.name != "weight"}
    return Palette(
        **{name: colour(values) if values.ndim == 2 else values for name, values in (hours | seasons).items()}
    )


def _table(rows: tuple[Hour, ...] | tuple[Season, ...], name: str) -> NDArray[np.float32]:
    return np.array([getattr(row, name) for row in rows], dtype=np.float32)
