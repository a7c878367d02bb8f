"""The shape of pictures, and the settings of the two networks: what weights travel with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from capriccio.config.check import check
from capriccio.errors import ConfigError

Architecture = Literal["skip", "resnet", "orig"]
Activation = Literal["linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"]

MAX_START_SIDE = 16
"""Largest start grid side; beyond it most of the picture would be the learned constant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShape:
    """The shape of one picture: any channel count, any size ``(h0·2^n, w0·2^n)`` from a small start grid.

    n is the largest number of doublings with H/2^n and W/2^n whole and at least 4, so 64×64 grows from 4×4 in four
    doublings and 256×384 from 4×6 in six. The *level* r = 4·2^j names the j-th doubling whatever the start grid is;
    it stands for "resolution" in channel counts, tensor names and latent rows.
    """

    channels: int = 3
    """Number of channels: 1 grey, 3 RGB, 4 RGBA, or anything else."""
    height: int = 64
    """Height in pixels."""
    width: int = 64
    """Width in pixels."""

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ConfigError(f"shape: channels must be at least 1, got {self.channels}.")
        if self.height < 4 or self.width < 4:
            raise ConfigError(f"shape: a picture has at least 4×4 pixels, got {self.height}×{self.width}.")
        if max(self.start_grid) > MAX_START_SIDE:
            height, width = nearest_good_size(self.height, self.width)
            raise ConfigError(
                f"shape: {self.height}×{self.width} cannot be reached by doubling a start grid of at most "
                f"{MAX_START_SIDE}×{MAX_START_SIDE} (it would start from {self.start_grid[0]}×{self.start_grid[1]}). "
                f"The nearest good size is {height}×{width}."
            )

    @property
    def num_doublings(self) -> int:
        """n, the number of ×2 steps from the start grid to the picture."""
        height, width, n = self.height, self.width, 0
        while height % 2 == 0 and width % 2 == 0 and height >= 8 and width >= 8:
            height, width, n = height // 2, width // 2, n + 1
        return n

    @property
    def start_grid(self) -> tuple[int, int]:
        """(h0, w0), the size of the learned constant."""
        n = self.num_doublings
        return self.height >> n, self.width >> n

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels 4, 8, …, 4·2^n."""
        return tuple(4 << j for j in range(self.num_doublings + 1))

    @property
    def num_ws(self) -> int:
        """Number of latent rows of a synthesis network of this shape, 2(n + 1)."""
        return 2 * (self.num_doublings + 1)

    def size_at(self, level: int) -> tuple[int, int]:
        """(height, width) of the feature maps at ``level``."""
        h0, w0 = self.start_grid
        return h0 * level // 4, w0 * level // 4

    def __str__(self) -> str:
        return f"{self.channels}×{self.height}×{self.width}"


def nearest_good_size(height: int, width: int) -> tuple[int, int]:
    """Return the size nearest to (height, width), by relative change, that a start grid of 4…16 reaches by doubling."""
    sides = range(4, MAX_START_SIDE + 1)
    candidates = [(h << n, w << n) for n in range(12) for h in sides for w in sides if min(h, w) < 8]
    return min(candidates, key=lambda s: abs(s[0] / height - 1) + abs(s[1] / width - 1))


def num_channels(level: int, channel_base: int, channel_max: int) -> int:
    """C(r) = min(floor(channel_base / r), channel_max): feature maps at level r, in both networks."""
    return min(channel_base // level, channel_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingConfig:
    """The mapping network: z (and a label) to w."""

    num_layers: int = 8
    """Depth; the paper has 8, the reference's `auto` preset 2."""
    hidden_dim: int | None = None
    """Width of the inner layers; null = the output width."""
    embed_dim: int | None = None
    """Width of the label embedding; null = the output width. Not used without labels."""
    labels: Literal["embedded", "joined"] = "embedded"
    """How a label enters. embedded: z and its embedding are normalised apart, and D compares its answer with a mapped
    label (StyleGAN2-ADA). joined: they are normalised together, and D has one answer for each class (the StyleGAN2
    program of 2019)."""
    activation: Activation = "lrelu"
    """Nonlinearity after every layer."""
    lr_multiplier: float = 0.01
    """λ: these layers learn this much slower than the rest."""
    w_avg_beta: float = 0.995
    """Decay of the running mean of w; 1 = not updated."""

    def __post_init__(self) -> None:
        check(
            "mapping",
            (self.num_layers >= 1, f"num_layers must be at least 1, got {self.num_layers}"),
            *_at_least(1, hidden_dim=self.hidden_dim, embed_dim=self.embed_dim),
            (self.lr_multiplier > 0, f"lr_multiplier must be positive, got {self.lr_multiplier}"),
            (0 <= self.w_avg_beta <= 1, f"w_avg_beta must lie in 0..1, got {self.w_avg_beta}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """The generator: mapping and synthesis network."""

    z_dim: int = 512
    """Size of the input latent."""
    w_dim: int = 512
    """Size of the intermediate latent."""
    c_dim: int = 0
    """Size of the label; 0 = unconditional. Set from the data set when training."""
    shape: ImageShape = field(default_factory=ImageShape)
    """Shape of the pictures. Set from the data set when training."""
    channel_base: int = 32768
    """Feature maps at level r: min(channel_base / r, channel_max)."""
    channel_max: int = 512
    """Upper bound on feature maps."""
    architecture: Architecture = "skip"
    """skip: RGB accumulated over levels; resnet: residual blocks; orig: one RGB output at the end."""
    mapping: MappingConfig = field(default_factory=MappingConfig)
    """The mapping network."""
    conv_clamp: float | None = None
    """Clamp activations to ± this; null = no clamp. 256 goes with fp16."""
    use_noise: bool = True
    """Whether layers have noise inputs."""
    demodulate: bool = True
    """Scale the result of every modulated convolution to unit variance; off only to study what that is good for."""
    resample_filter: tuple[int, ...] = (1, 3, 3, 1)
    """Taps of the low-pass filter used when resampling."""
    num_fp16_res: int = 4
    """How many of the highest levels run in the low precision, when one is chosen."""

    def __post_init__(self) -> None:
        check(
            "generator",
            (self.z_dim >= 1, f"z_dim must be at least 1, got {self.z_dim}"),
            (self.w_dim >= 1, f"w_dim must be at least 1, got {self.w_dim}"),
            (self.c_dim >= 0, f"c_dim must be at least 0, got {self.c_dim}"),
            *_at_least(0, num_fp16_res=self.num_fp16_res),
            _check_filter(self.resample_filter),
            *_check_width(self.shape, self.channel_base, self.channel_max, self.conv_clamp),
        )

    @property
    def num_ws(self) -> int:
        """Number of latent rows."""
        return self.shape.num_ws

    def channels_at(self, level: int) -> int:
        """Feature maps at ``level``."""
        return num_channels(level, self.channel_base, self.channel_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """The discriminator."""

    c_dim: int = 0
    """Size of the label; 0 = unconditional. Set from the data set when training."""
    shape: ImageShape = field(default_factory=ImageShape)
    """Shape of the pictures. Set from the data set when training."""
    channel_base: int = 32768
    """Feature maps at level r: min(channel_base / r, channel_max)."""
    channel_max: int = 512
    """Upper bound on feature maps."""
    architecture: Architecture = "resnet"
    """resnet: residual blocks; skip: RGB pyramid added at every level; orig: plain."""
    mapping: MappingConfig = field(default_factory=MappingConfig)
    """Maps the label, in conditional networks."""
    cmap_dim: int | None = None
    """Width of the mapped label; null = feature maps at level 4. Not used without labels."""
    conv_clamp: float | None = None
    """Clamp activations to ± this; null = no clamp."""
    resample_filter: tuple[int, ...] = (1, 3, 3, 1)
    """Taps of the low-pass filter used when resampling."""
    mbstd_group_size: int | None = 4
    """Minibatch standard deviation: pictures per group; null = the whole batch."""
    mbstd_num_channels: int = 1
    """Minibatch standard deviation: channels added; 0 = layer absent."""
    freeze_layers: int = 0
    """Freeze-D: this many layers, counted from the picture, keep their weights."""
    num_fp16_res: int = 4
    """How many of the highest levels run in the low precision, when one is chosen."""

    def __post_init__(self) -> None:
        group, added = self.mbstd_group_size, self.mbstd_num_channels
        last = self.channels_at(self.shape.levels[0])
        check(
            "discriminator",
            (self.c_dim >= 0, f"c_dim must be at least 0, got {self.c_dim}"),
            (
                self.shape.num_doublings >= 1,
                f"pictures must be doubled at least once from the start grid, got {self.shape}",
            ),
            (group is None or group >= 1, f"mbstd_group_size must be at least 1 or null, got {group}"),
            (added >= 0, f"mbstd_num_channels must be at least 0, got {added}"),
            (added <= 0 or last % added == 0, f"mbstd_num_channels must divide the last {last} maps, got {added}"),
            *_at_least(1, cmap_dim=self.cmap_dim),
            *_at_least(0, num_fp16_res=self.num_fp16_res),
            _check_filter(self.resample_filter),
            (self.freeze_layers >= 0, f"freeze_layers must be at least 0, got {self.freeze_layers}"),
            *_check_width(self.shape, self.channel_base, self.channel_max, self.conv_clamp),
        )

    def channels_at(self, level: int) -> int:
        """Feature maps at ``level``."""
        return num_channels(level, self.channel_base, self.channel_max)


def _at_least(least: int, **values: int | None) -> Iterator[tuple[bool, str]]:
    for name, value in values.items():
        yield value is None or value >= least, f"{name} must be at least {least}, got {value}"


def _check_filter(taps: tuple[int, ...]) -> tuple[bool, str]:
    return sum(taps) != 0, f"resample_filter must have taps whose sum is not 0, got {list(taps)}"


def _check_width(
    shape: ImageShape, channel_base: int, channel_max: int, clamp: float | None
) -> Iterator[tuple[bool, str]]:
    top = shape.levels[-1]
    yield channel_max >= 1, f"channel_max must be at least 1, got {channel_max}"
    yield channel_base >= top, f"channel_base must be at least the top level {top}, got {channel_base}"
    yield clamp is None or clamp > 0, f"conv_clamp must be positive or null, got {clamp}"
