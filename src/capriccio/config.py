"""Every setting of a network and of a run, as frozen dataclasses without torch.

A configuration checks itself when it is made: all problems of one section are collected and raised as one
:class:`~capriccio.errors.ConfigError`. ``to_dict``/``from_dict`` are exact inverses over JSON types.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from capriccio.errors import ConfigError, nearest

Architecture = Literal["skip", "resnet", "orig"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
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
        _check(
            "mapping",
            (self.num_layers >= 1, f"num_layers must be at least 1, got {self.num_layers}"),
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
        _check(
            "generator",
            (self.z_dim >= 1, f"z_dim must be at least 1, got {self.z_dim}"),
            (self.w_dim >= 1, f"w_dim must be at least 1, got {self.w_dim}"),
            (self.c_dim >= 0, f"c_dim must be at least 0, got {self.c_dim}"),
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
        group = self.mbstd_group_size
        _check(
            "discriminator",
            (self.c_dim >= 0, f"c_dim must be at least 0, got {self.c_dim}"),
            (
                self.shape.num_doublings >= 1,
                f"pictures must be doubled at least once from the start grid, got {self.shape}",
            ),
            (group is None or group >= 1, f"mbstd_group_size must be at least 1 or null, got {group}"),
            (self.mbstd_num_channels >= 0, f"mbstd_num_channels must be at least 0, got {self.mbstd_num_channels}"),
            (self.freeze_layers >= 0, f"freeze_layers must be at least 0, got {self.freeze_layers}"),
            *_check_width(self.shape, self.channel_base, self.channel_max, self.conv_clamp),
        )

    def channels_at(self, level: int) -> int:
        """Feature maps at ``level``."""
        return num_channels(level, self.channel_base, self.channel_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The pictures a run learns from."""

    path: str = ""
    """Archive (.zip), or folder of pictures. A folder of odd photographs is built into the cache first. Tar shards,
    such as https://host/set-{000..127}.tar, are streamed."""
    labels: bool = False
    """Train conditionally on the labels of the data set."""
    mirror: bool = False
    """Double the data set by mirroring left and right."""
    subset: int | None = None
    """Train on this many randomly chosen pictures; null = all."""
    holdout: int | None = None
    """Pictures set aside before anything is learnt; null = 5 %, at most 1,000."""
    cache: Literal["auto", "none", "raw", "device", "stream"] = "auto"
    """none: decode each time; raw: memory-mapped bytes; device: all pictures in device memory; stream: straight from
    tar shards, also behind addresses; auto: choose."""
    shuffle_buffer: int = 1024
    """Pictures that are shuffled together when streaming; as many again are read ahead."""

    def __post_init__(self) -> None:
        _check(
            "data",
            (self.subset is None or self.subset >= 1, f"subset must be at least 1 or null, got {self.subset}"),
            (self.holdout is None or self.holdout >= 0, f"holdout must be at least 0 or null, got {self.holdout}"),
            (self.shuffle_buffer >= 1, f"shuffle_buffer must be at least 1, got {self.shuffle_buffer}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """The objective: logistic loss, R1, path length regularisation, style mixing (StyleGAN2, section 3)."""

    r1_gamma: float = 10.0
    """Weight of R1; the loss adds gamma/2 times the squared gradient. Grows with the number of pixels."""
    r1_interval: int | None = 16
    """Iterations between two R1 steps (lazy regularisation); null = part of the main step."""
    pl_weight: float = 2.0
    """Weight of path length regularisation; 0 = off."""
    pl_interval: int | None = 4
    """Iterations between two path length steps; null = part of the main step."""
    pl_decay: float = 0.01
    """Decay of the running mean of path lengths."""
    pl_batch_shrink: int = 2
    """Path lengths use 1/this of the batch."""
    mixing_prob: float = 0.9
    """Probability that a batch is generated from two mixed latents."""
    w_avg_updates: Literal["every-pass", "discriminator-pass"] = "every-pass"
    """When the running mean of w moves: in every training pass of the generator, or only when it makes fakes for the
    discriminator's main step."""
    zero_gradients: Literal["zeros", "absent"] = "zeros"
    """What a parameter that a regulariser does not touch gets in its step: a zero gradient (as in the first PyTorch
    reference: Adam decays its moments) or none (as in the later one: Adam skips it)."""

    def __post_init__(self) -> None:
        _check(
            "loss",
            (self.r1_gamma >= 0, f"r1_gamma must be at least 0, got {self.r1_gamma}"),
            (
                self.r1_interval is None or self.r1_interval >= 1,
                f"r1_interval must be at least 1 or null, got {self.r1_interval}",
            ),
            (self.pl_weight >= 0, f"pl_weight must be at least 0, got {self.pl_weight}"),
            (
                self.pl_interval is None or self.pl_interval >= 1,
                f"pl_interval must be at least 1, got {self.pl_interval}",
            ),
            (0 < self.pl_decay <= 1, f"pl_decay must lie in 0..1, got {self.pl_decay}"),
            (self.pl_batch_shrink >= 1, f"pl_batch_shrink must be at least 1, got {self.pl_batch_shrink}"),
            (0 <= self.mixing_prob <= 1, f"mixing_prob must lie in 0..1, got {self.mixing_prob}"),
        )


SubjectName = Literal["landscapes", "faces", "cats", "cars", "art", "textures"]
AugmentMode = Literal["auto", "none", "ada", "fixed", "light"]
PipeName = Literal[
    "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc",
    "light", "landscapes", "faces", "cats", "cars", "art", "textures",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformations:
    """What may happen to a picture: a multiplier of p for every transformation (0 = never), and how far it goes.

    Names and default ranges are those of the ADA paper's program.
    """

    xflip: float = 0.0
    """Mirroring left and right."""
    rotate90: float = 0.0
    """Quarter turns."""
    xint: float = 0.0
    """Shifts by whole pixels."""
    xint_max: float = 0.125
    """Largest whole-pixel shift, as a share of the size."""
    scale: float = 0.0
    """Larger and smaller."""
    rotate: float = 0.0
    """Turns by any angle."""
    aniso: float = 0.0
    """Stretching in one direction."""
    xfrac: float = 0.0
    """Shifts by fractions of pixels."""
    scale_std: float = 0.2
    """Deviation of the logarithm, base 2, of the scale."""
    rotate_max: float = 1.0
    """Largest turn, as a share of half a turn."""
    aniso_std: float = 0.2
    """Deviation of the logarithm, base 2, of the stretching."""
    xfrac_std: float = 0.125
    """Deviation of fractional shifts, as a share of the size."""
    brightness: float = 0.0
    """Lighter and darker."""
    contrast: float = 0.0
    """More and less contrast."""
    lumaflip: float = 0.0
    """Light becomes dark and dark light; hues stay."""
    hue: float = 0.0
    """Turning the wheel of hues."""
    saturation: float = 0.0
    """More and less colourful."""
    brightness_std: float = 0.2
    """Deviation of the brightness, in the −1…1 range of pictures."""
    contrast_std: float = 0.5
    """Deviation of the logarithm, base 2, of the contrast."""
    hue_max: float = 1.0
    """Largest turn of the wheel of hues, as a share of half a turn."""
    saturation_std: float = 1.0
    """Deviation of the logarithm, base 2, of the saturation."""
    imgfilter: float = 0.0
    """Amplifying and damping bands of spatial frequencies."""
    imgfilter_bands: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """Multiplier of each band, from coarse to fine."""
    imgfilter_std: float = 1.0
    """Deviation of the logarithm, base 2, of a band's gain."""
    noise: float = 0.0
    """Gaussian noise on every pixel."""
    noise_std: float = 0.1
    """Deviation of the deviation of the noise."""
    cutout: float = 0.0
    """A grey rectangle somewhere."""
    cutout_size: float = 0.5
    """Side of the rectangle, as a share of the size."""

    def __post_init__(self) -> None:
        numbers = [(f.name, getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "imgfilter_bands"]
        _check(
            "transformations",
            *((value >= 0, f"{name} must be at least 0, got {value}") for name, value in numbers),
            (
                len(self.imgfilter_bands) == 4 and min(self.imgfilter_bands, default=0) >= 0,
                f"imgfilter_bands must be four numbers of at least 0, got {list(self.imgfilter_bands)}",
            ),
        )

    @property
    def enabled(self) -> tuple[str, ...]:
        """Names of the transformations that may happen, in the order they are applied."""
        return tuple(name for name in (*_GEOMETRIC, *_COLOURING, *_CORRUPTING) if getattr(self, name) > 0)

    @property
    def has_geometry(self) -> bool:
        """Whether pictures are resampled."""
        return any(getattr(self, name) > 0 for name in _GEOMETRIC)

    @property
    def has_color(self) -> bool:
        """Whether colours change."""
        return any(getattr(self, name) > 0 for name in _COLOURING)


_GEOMETRIC = ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac")
_COLOURING = ("brightness", "contrast", "lumaflip", "hue", "saturation")
_CORRUPTING = ("imgfilter", "noise", "cutout")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformationSettings:
    """The transformations of the pipe, changed one by one; null = as the pipe has it, 0 = off, 1 = as often as p."""

    xflip: float | None = None
    """Mirroring left and right."""
    rotate90: float | None = None
    """Quarter turns."""
    xint: float | None = None
    """Shifts by whole pixels."""
    xint_max: float | None = None
    """Largest whole-pixel shift, as a share of the size."""
    scale: float | None = None
    """Larger and smaller."""
    rotate: float | None = None
    """Turns by any angle."""
    aniso: float | None = None
    """Stretching in one direction."""
    xfrac: float | None = None
    """Shifts by fractions of pixels."""
    scale_std: float | None = None
    """Deviation of the logarithm, base 2, of the scale."""
    rotate_max: float | None = None
    """Largest turn, as a share of half a turn."""
    aniso_std: float | None = None
    """Deviation of the logarithm, base 2, of the stretching."""
    xfrac_std: float | None = None
    """Deviation of fractional shifts, as a share of the size."""
    brightness: float | None = None
    """Lighter and darker."""
    contrast: float | None = None
    """More and less contrast."""
    lumaflip: float | None = None
    """Light becomes dark and dark light; hues stay."""
    hue: float | None = None
    """Turning the wheel of hues."""
    saturation: float | None = None
    """More and less colourful."""
    brightness_std: float | None = None
    """Deviation of the brightness, in the −1…1 range of pictures."""
    contrast_std: float | None = None
    """Deviation of the logarithm, base 2, of the contrast."""
    hue_max: float | None = None
    """Largest turn of the wheel of hues, as a share of half a turn."""
    saturation_std: float | None = None
    """Deviation of the logarithm, base 2, of the saturation."""
    imgfilter: float | None = None
    """Amplifying and damping bands of spatial frequencies."""
    imgfilter_bands: tuple[float, ...] | None = None
    """Multiplier of each band, from coarse to fine."""
    imgfilter_std: float | None = None
    """Deviation of the logarithm, base 2, of a band's gain."""
    noise: float | None = None
    """Gaussian noise on every pixel."""
    noise_std: float | None = None
    """Deviation of the deviation of the noise."""
    cutout: float | None = None
    """A grey rectangle somewhere."""
    cutout_size: float | None = None
    """Side of the rectangle, as a share of the size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Augmentation of what the discriminator sees (ADA; Karras, Aittala, Hellsten, Laine, Lehtinen, Aila 2020)."""

    mode: AugmentMode = "none"
    """none: pictures as they are; ada: as strongly as the discriminator's overfitting asks for; auto: ada for few
    pictures, none for many; fixed: always with probability p; light: always a shift, mild colours and a cutout.
    --augment says the same."""
    pipe: PipeName = "bgc"
    """Set of transformations: letters of the paper (blit, geom, color, filter, noise, cutout), or a subject."""
    p: float = 0.2
    """Probability of each transformation, for `fixed`."""
    target: float = 0.6
    """What r_t, the mean sign of the discriminator at real pictures, is steered to, for `ada`."""
    interval: int = 4
    """Iterations between two adjustments of p, for `ada`."""
    kimg: float | None = None
    """In how many thousand images p could rise from 0 to 1, for `ada`; null = 500, or 100 in a run that starts from
    another network."""
    cap: float = 0.8
    """p never exceeds this, for `ada`: beyond it transformations appear in the generated pictures."""
    transformations: TransformationSettings = field(default_factory=TransformationSettings)
    """Single transformations."""

    def __post_init__(self) -> None:
        _check(
            "augment",
            (0 <= self.p <= 1, f"p must lie in 0..1, got {self.p}"),
            (-1 <= self.target <= 1, f"target must lie in -1..1, got {self.target}"),
            (self.interval >= 1, f"interval must be at least 1, got {self.interval}"),
            (self.kimg is None or self.kimg > 0, f"kimg must be positive or null, got {self.kimg}"),
            (0 < self.cap <= 1, f"cap must lie in 0..1, got {self.cap}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """Adam, one for each network; corrected for lazy regularisation when the run is set up."""

    generator_lr: float = 0.002
    """Learning rate of the generator."""
    discriminator_lr: float = 0.002
    """Learning rate of the discriminator."""
    beta1: float = 0.0
    """Decay of the first moment."""
    beta2: float = 0.99
    """Decay of the second moment."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    accumulation: Literal["mean", "sum"] = "mean"
    """How the gradients of several rounds combine. The reference programs sum, which Adam hardly notices."""

    def __post_init__(self) -> None:
        _check(
            "optimizer",
            (self.generator_lr > 0, f"generator_lr must be positive, got {self.generator_lr}"),
            (self.discriminator_lr > 0, f"discriminator_lr must be positive, got {self.discriminator_lr}"),
            (0 <= self.beta1 < 1, f"beta1 must lie in 0..1, got {self.beta1}"),
            (0 <= self.beta2 < 1, f"beta2 must lie in 0..1, got {self.beta2}"),
            (self.eps > 0, f"eps must be positive, got {self.eps}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaConfig:
    """The averaged generator, the one pictures are made with."""

    half_life_kimg: float = 10.0
    """Half-life of the average, in thousands of images."""
    rampup: float | None = 0.05
    """While the run is young the half-life is this share of its length; null = no ramp-up."""

    def __post_init__(self) -> None:
        _check(
            "ema",
            (self.half_life_kimg >= 0, f"half_life_kimg must be at least 0, got {self.half_life_kimg}"),
            (self.rampup is None or self.rampup > 0, f"rampup must be positive or null, got {self.rampup}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingConfig:
    """What a run writes, how often, and how much of it is kept."""

    kimg_per_tick: float = 4.0
    """A tick ends after this many thousand images: one line of statistics."""
    snapshot_kimg: float = 50.0
    """Sample grid and snapshot after this many thousand images."""
    snapshot_minutes: float = 30.0
    """Sample grid and snapshot at the latest after this many minutes; a later one of the same kimg replaces it."""
    first_snapshot_minutes: float = 5.0
    """The first one comes at the latest after this many minutes."""
    checkpoint_minutes: float = 15.0
    """Checkpoint at the latest after this many minutes; one also goes with every snapshot."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""
    keep_snapshots: int | None = 20
    """Newest snapshots that are kept; null = all."""
    disk_budget_gb: float | None = None
    """Oldest snapshots are removed when the run folder grows beyond this; null = no limit."""
    travelling: bool = False
    """With every snapshot, and when the run is stopped, write travelling.safetensors anew: half precision, for
    --continue-from on another machine."""

    def __post_init__(self) -> None:
        intervals = (
            "kimg_per_tick",
            "snapshot_kimg",
            "snapshot_minutes",
            "first_snapshot_minutes",
            "checkpoint_minutes",
        )
        _check(
            "saving",
            *((getattr(self, n) > 0, f"{n} must be positive, got {getattr(self, n)}") for n in intervals),
            (self.keep_checkpoints >= 1, f"keep_checkpoints must be at least 1, got {self.keep_checkpoints}"),
            (
                self.keep_snapshots is None or self.keep_snapshots >= 1,
                f"keep_snapshots must be at least 1 or null, got {self.keep_snapshots}",
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """What is measured at every snapshot, and by which number the best one is known."""

    metrics: str = ""
    """Names separated by commas, such as fd_random5k_full or fid50k_full; empty = nothing is measured."""
    keep_best: str | None = None
    """The snapshot that is best by this number is never removed; null = by the first number measured."""
    data: str | None = None
    """Pictures to compare with; null = those of the run, held-out ones included."""
    weights: str = ""
    """Published weights as KEY=PATH, separated by commas, such as inception=pt_inception.pth."""
    reference: str | None = None
    """Snapshot whose discriminator is the ruler of metrics by discriminator."""
    batch: int = 16
    """Pictures painted at once; changes no number."""

    def __post_init__(self) -> None:
        _check("evaluation", (self.batch >= 1, f"batch must be at least 1, got {self.batch}"))


FirForm = Literal["auto", "depthwise", "shifted", "triton"]
UpForm = Literal["auto", "transposed", "phases", "folded"]
EpilogueForm = Literal["auto", "matrix", "pointwise"]
Layout = Literal["auto", "channels_last", "contiguous"]
CudaGraphs = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormsConfig:
    """In which of several equal forms the networks compute: they differ in speed and rounding, in nothing else.

    auto: what was measured to be fastest on the device; docs/gpu.md has the measurements.
    """

    fir: FirForm = "auto"
    """Low-pass filter: a depthwise convolution, shifted maps added up (which a compiler fuses), or a Triton kernel."""
    up: UpForm = "auto"
    """Convolution that doubles the size: transposed, one to four phases, or that with the filter folded in."""
    epilogue: EpilogueForm = "auto"
    """Noise and bias: one matrix product, or additions one by one (which a compiler fuses)."""
    layout: Layout = "auto"
    """How feature maps lie in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One training run, complete: the same configuration and data give the same networks."""

    preset: str = "auto"
    """The named configuration this one started from."""
    subject: SubjectName | None = None
    """What the pictures show: chooses transformations, mirroring, gamma and mapping depth; null = no choice."""
    data: DataConfig = field(default_factory=DataConfig)
    """The pictures."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """The generator."""
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    """The discriminator."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The objective."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What happens to pictures before the discriminator sees them."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Adam."""
    ema: EmaConfig = field(default_factory=EmaConfig)
    """The averaged generator."""
    saving: SavingConfig = field(default_factory=SavingConfig)
    """What is written, and how often."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """What is measured at every snapshot."""
    total_kimg: float = 25000.0
    """Length of the run in thousands of images shown to the discriminator."""
    batch: int = 32
    """Pictures per iteration, over all processes."""
    batch_per_round: int | None = None
    """Pictures per process and round; smaller saves memory, gradients are averaged over rounds. null = one round."""
    seed: int = 0
    """Everything random follows from this."""
    precision: Precision = "auto"
    """fp32, bf16, fp16, or the fastest safe one of the machine."""
    compile: bool = False
    """Compile the four phases with torch.compile."""
    cuda_graphs: CudaGraphs = "auto"
    """Record the work of every phase on a GPU once and replay it; auto: where there is one GPU, and what cannot be
    recorded runs as it is; on: then the run ends."""
    forms: FormsConfig = field(default_factory=FormsConfig)
    """In which of several equal forms the networks compute."""

    def __post_init__(self) -> None:
        rounds = self.batch_per_round
        _check(
            "run",
            (self.total_kimg >= 0, f"total_kimg must be at least 0, got {self.total_kimg}"),
            (self.batch >= 1, f"batch must be at least 1, got {self.batch}"),
            (rounds is None or rounds >= 1, f"batch_per_round must be at least 1 or null, got {rounds}"),
            (
                rounds is None or rounds < 1 or self.batch % rounds == 0,
                f"batch {self.batch} must be a multiple of batch_per_round {rounds}",
            ),
            (self.generator.shape == self.discriminator.shape, "generator.shape and discriminator.shape must agree"),
            (self.generator.c_dim == self.discriminator.c_dim, "generator.c_dim and discriminator.c_dim must agree"),
        )


def _check_width(
    shape: ImageShape, channel_base: int, channel_max: int, clamp: float | None
) -> Iterator[tuple[bool, str]]:
    top = shape.levels[-1]
    yield channel_max >= 1, f"channel_max must be at least 1, got {channel_max}"
    yield channel_base >= top, f"channel_base must be at least the top level {top}, got {channel_base}"
    yield clamp is None or clamp > 0, f"conv_clamp must be positive or null, got {clamp}"


def _check(section: str, *rules: tuple[bool, str]) -> None:
    problems = [message for ok, message in rules if not ok]
    if problems:
        raise ConfigError(f"{section}: " + "; ".join(problems) + ".")


# ---- to and from plain data ------------------------------------------------------------------------------------------

C = TypeVar("C")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as nested dicts of JSON types."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def hashed_dict(config: GeneratorConfig | DiscriminatorConfig) -> dict[str, Any]:
    """Return a network's configuration as hashes of networks have it.

    A setting that came after hashes had been handed out is left out where it has its default, so old hashes stay.
    """
    told = to_dict(config)
    if told["mapping"]["labels"] == MappingConfig().labels:
        del told["mapping"]["labels"]
    return told


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    return list(value) if isinstance(value, tuple) else value


def from_dict(cls: type[C], values: dict[str, Any], *, where: str = "") -> C:
    """Build a configuration of class ``cls`` from nested dicts; missing keys keep their defaults.

    Raises: ConfigError for an unknown key (naming the nearest known one), a wrong type or a value out of range.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where or cls.__name__}: expected a section with keys, got {values!r}.")
    hints = typing.get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else key
        if key not in hints:
            raise ConfigError(f"'{path}' is not a setting.{nearest(key, hints)}")
        arguments[key] = _typed(hints[key], value, path)
    return cls(**arguments)


def _typed(hint: Any, value: Any, path: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where=path)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _typed(next(o for o in options if o is not type(None)), value, path)
    if origin is Literal:
        if value not in options:
            known = [str(option) for option in options]
            raise ConfigError(f"'{path}' must be one of {', '.join(known)}, got {value!r}.{nearest(str(value), known)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"'{path}' must be a list, got {value!r}.")
        return tuple(_typed(options[0], v, path) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"'{path}' must be {hint.__name__}, got {value!r}.")
    return value
