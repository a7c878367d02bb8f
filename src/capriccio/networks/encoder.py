"""From a picture to a guess of what made it: the start of projections.

One guess is latent and noise together: where noise moves trees, one does not make sense without the other. Beside its
weights an encoder carries how much pictures change along every direction of W, which projection needs to scale its
steps, so that one part of a snapshot holds all that was learnt about going backwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from capriccio.config import GeneratorConfig, ImageShape

SLOPE = 0.2
_GROUPS = 8
_LARGEST_LEVEL = 64
"""Larger pictures are reduced to this level: where things are shows there, and details are what steps are for."""

_WORKING_LEVEL = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Shape and width of an encoder."""

    shape: ImageShape
    """Of the pictures."""
    w_dim: int
    """Size of the latent."""
    num_maps: int
    """Noise maps of the generator; 0 = it has none."""
    map_channels: int
    """Those among them that are guessed: the ones of the working level."""
    widths: tuple[int, ...] = (80, 128, 160)
    """Channels at the working level and each half of it."""
    bottleneck: int = 64
    """Channels before the dense layer."""


def encoder_config(config: GeneratorConfig) -> EncoderConfig:
    """Return the configuration of an encoder for a generator."""
    levels = config.shape.levels
    per_level = [1 if level == 4 else 2 for level in levels]
    working = min(_WORKING_LEVEL, levels[-1])
    return EncoderConfig(
        shape=config.shape,
        w_dim=config.w_dim,
        num_maps=sum(per_level) if config.use_noise else 0,
        map_channels=per_level[levels.index(working)] if config.use_noise else 0,
    )


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside the identity, which it is at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm0, self.norm1 = nn.GroupNorm(_GROUPS, channels), nn.GroupNorm(_GROUPS, channels)
        self.conv0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv1.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, C, H, W]."""
        x1 = self.conv0(functional.leaky_relu(self.norm0(x), SLOPE))
        y: Tensor = x + self.conv1(functional.leaky_relu(self.norm1(x1), SLOPE))
        return y


class Encoder(nn.Module):
    """Images [N, C, H, W] → whitened latents [N, w_dim] and noise maps of the working level."""

    curvature: Tensor
    noise_curvature: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        shape, widths = config.shape, config.widths
        top = shape.levels[-1]
        self._level = min(top, _LARGEST_LEVEL)
        self._working = min(_WORKING_LEVEL, top)
        self._fold = self._level // self._working
        levels = [self._working >> i for i in range(len(widths)) if self._working >> i >= 4]
        widths = widths[: len(levels)]
        self.stem = nn.Conv2d(shape.channels * self._fold**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairwise(widths))
        # As many blocks at the finer halves, which say where things are, as the coarsest can do without.
        self.blocks = nn.ModuleList(
            nn.Sequential(ResidualBlock(width), *([ResidualBlock(width)] if i < len(widths) - 1 else []))
            for i, width in enumerate(widths)
        )
        height, width = shape.size_at(levels[-1])
        self.narrow = nn.Conv2d(widths[-1], config.bottleneck, 1)
        self.latent = nn.Linear(config.bottleneck * height * width, config.w_dim)
        self.join = nn.Conv2d(sum(widths), 64, 1)
        self.maps = (
            nn.ModuleList([nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, config.map_channels, 1)])
            if config.map_channels
            else None
        )
        nn.init.normal_(self.latent.weight, std=1 / math.sqrt(config.bottleneck * height * width) / 8)
        # The mean of JᵀJ, J the derivative of pixels by whitened latents, and its diagonal for one value of each map.
        self.register_buffer("curvature", torch.eye(config.w_dim))
        self.register_buffer("noise_curvature", torch.ones(config.num_maps))

    @property
    def first_map(self) -> int:
        """Index of the first noise map that is guessed."""
        levels = self.config.shape.levels
        return sum(1 if level == 4 else 2 for level in levels if level < self._working)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the guess: (v [N, w_dim], maps [N, map_channels, h, w] or None).

        Args:
            images: −1…1.
        """
        size = self.config.shape.size_at(self._level)
        if tuple(images.shape[2:]) != size:
            images = functional.interpolate(images, size, mode="area")
        x = functional.pixel_unshuffle(images, self._fold).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        seen = []
        for i, block in enumerate(self.blocks):
            if i:
                x = self.down[i - 1](x)
            x = block(x)
            seen.append(x)
        narrow = functional.leaky_relu(self.narrow(functional.leaky_relu(x, SLOPE)), SLOPE)
        v: Tensor = self.latent(narrow.flatten(1))
        if self.maps is None:
            return v, None
        joined = [seen[0], *(functional.interpolate(s, seen[0].shape[2:], mode="nearest") for s in seen[1:])]
        y = self.join(torch.cat(joined, dim=1))
        for layer in self.maps:
            y = layer(functional.leaky_relu(y, SLOPE))
        return v, y
