"""Named run configurations: the reference's own, and ours for small machines.

Source: the StyleGAN2 and ADA papers and the published settings of their programs (docs/presets.md has the table).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from capriccio.config import (
    Architecture,
    AugmentConfig,
    DiscriminatorConfig,
    EmaConfig,
    GeneratorConfig,
    ImageShape,
    LossConfig,
    MappingConfig,
    OptimizerConfig,
    RunConfig,
    SavingConfig,
)
from capriccio.errors import ConfigError
from capriccio.wording import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preset:
    about: str
    total_kimg: float = 25000.0
    batch: int
    reference_gpus: int = 8
    mbstd_group_size: int
    channel_base: int
    channel_max: int = 512
    latent_dim: int = 512
    lr: float
    r1_gamma: float
    ema_kimg: float
    ema_rampup: float | None = None
    map_layers: int = 8
    pl_weight: float = 2.0
    mixing_prob: float = 0.9
    d_architecture: Architecture = "resnet"
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    saving: SavingConfig = field(default_factory=lambda: SavingConfig(snapshot_kimg=200.0))


_ADA = AugmentConfig(mode="ada", pipe="bgc")

_FIXED = {
    "stylegan2": _Preset(
        about="config F of the paper (FFHQ 1024×1024)",
        batch=32,
        mbstd_group_size=4,
        channel_base=32768,
        lr=0.002,
        r1_gamma=10.0,
        ema_kimg=10.0,
    ),
    "config-e": _Preset(
        about="config E of the paper: half the feature maps, stronger R1",
        batch=32,
        mbstd_group_size=4,
        channel_base=16384,
        lr=0.002,
        r1_gamma=100.0,
        ema_kimg=10.0,
    ),
    "paper256": _Preset(
        about="FFHQ and LSUN Cat 256×256 of the ADA paper",
        batch=64,
        mbstd_group_size=8,
        channel_base=16384,
        lr=0.0025,
        r1_gamma=1.0,
        ema_kimg=20.0,
        augment=_ADA,
    ),
    "paper512": _Preset(
        about="AFHQ and BreCaHAD 512×512 of the ADA paper",
        batch=64,
        mbstd_group_size=8,
        channel_base=32768,
        lr=0.0025,
        r1_gamma=0.5,
        ema_kimg=20.0,
        augment=_ADA,
    ),
    "paper1024": _Preset(
        about="MetFaces 1024×1024 of the ADA paper",
        batch=32,
        mbstd_group_size=4,
        channel_base=32768,
        lr=0.002,
        r1_gamma=2.0,
        ema_kimg=10.0,
        augment=_ADA,
    ),
    "cifar": _Preset(
        about="CIFAR-10 of the ADA paper",
        total_kimg=100000.0,
        batch=64,
        reference_gpus=2,
        mbstd_group_size=32,
        channel_base=32768,
        lr=0.0025,
        r1_gamma=0.01,
        ema_kimg=500.0,
        ema_rampup=0.05,
        map_layers=2,
        pl_weight=0.0,
        mixing_prob=0.0,
        d_architecture="orig",
        augment=_ADA,
    ),
    "laptop": _Preset(
        about="64×64 on a processor without a graphics card, in a night",
        total_kimg=300.0,
        batch=16,
        reference_gpus=1,
        mbstd_group_size=4,
        channel_base=2048,
        channel_max=192,
        latent_dim=256,
        lr=0.0025,
        r1_gamma=0.2,
        ema_kimg=5.0,
        ema_rampup=0.05,
        map_layers=2,
        augment=AugmentConfig(mode="auto"),
        saving=SavingConfig(kimg_per_tick=1.0, snapshot_kimg=10.0, snapshot_minutes=20.0, first_snapshot_minutes=2.0),
    ),
    "tiny": _Preset(
        about="a network of toy size, for tests and the demo",
        total_kimg=4.0,
        batch=8,
        reference_gpus=1,
        mbstd_group_size=4,
        channel_base=512,
        channel_max=32,
        latent_dim=32,
        lr=0.0025,
        r1_gamma=0.05,
        ema_kimg=1.0,
        ema_rampup=0.05,
        map_layers=2,
        saving=SavingConfig(kimg_per_tick=0.5, snapshot_kimg=2.0, first_snapshot_minutes=1.0),
    ),
}

PRESETS = ("auto", *_FIXED)
"""Names of all presets."""


def about(name: str) -> str:
    """Return one line that says what the preset is for."""
    return "chosen from picture size and number of processes" if name == "auto" else _FIXED[name].about


def preset(name: str, shape: ImageShape, *, c_dim: int = 0, num_processes: int = 1) -> RunConfig:
    """Return the run configuration of a named preset for pictures of ``shape``.

    Args:
        name: one of :data:`PRESETS`.
        shape: shape of the pictures; `auto` chooses batch, width, learning rate and γ from it.
        c_dim: size of the labels; 0 = unconditional.
        num_processes: processes (GPUs) the run has; `auto` grows the batch with it.

    Raises: ConfigError for an unknown name, naming the nearest.
    Source: the ADA paper's appendix and the published preset table; γ in `auto` is 0.0002·H·W/batch.
    """
    if name not in PRESETS:
        raise ConfigError(f"'{name}' is not a preset.{nearest(name, PRESETS)} There are: {', '.join(PRESETS)}.")
    chosen = _auto(shape, num_processes) if name == "auto" else _FIXED[name]
    mapping = MappingConfig(num_layers=chosen.map_layers)
    return RunConfig(
        preset=name,
        generator=GeneratorConfig(
            z_dim=chosen.latent_dim,
            w_dim=chosen.latent_dim,
            c_dim=c_dim,
            shape=shape,
            channel_base=chosen.channel_base,
            channel_max=chosen.channel_max,
            mapping=mapping,
        ),
        discriminator=DiscriminatorConfig(
            c_dim=c_dim,
            shape=shape,
            channel_base=chosen.channel_base,
            channel_max=chosen.channel_max,
            architecture=chosen.d_architecture,
            mbstd_group_size=chosen.mbstd_group_size,
        ),
        loss=LossConfig(r1_gamma=chosen.r1_gamma, pl_weight=chosen.pl_weight, mixing_prob=chosen.mixing_prob),
        augment=chosen.augment,
        optimizer=OptimizerConfig(generator_lr=chosen.lr, discriminator_lr=chosen.lr),
        ema=EmaConfig(half_life_kimg=chosen.ema_kimg, rampup=chosen.ema_rampup),
        saving=chosen.saving,
        total_kimg=chosen.total_kimg,
        batch=chosen.batch,
        batch_per_round=chosen.batch // chosen.reference_gpus,
    )


def _auto(shape: ImageShape, num_processes: int) -> _Preset:
    pixels = shape.height * shape.width
    side = round(pixels**0.5)
    batch = max(min(num_processes * min(4096 // side, 32), 64), num_processes)
    batch -= batch % num_processes
    return _Preset(
        about=about("auto"),
        batch=batch,
        reference_gpus=num_processes,
        mbstd_group_size=min(batch // num_processes, 4),
        channel_base=32768 if side >= 512 else 16384,
        lr=0.002 if side >= 1024 else 0.0025,
        r1_gamma=auto_gamma(shape, batch),
        ema_kimg=batch * 10 / 32,
        ema_rampup=0.05,
        map_layers=2,
        augment=_ADA,
    )


def auto_gamma(shape: ImageShape, batch: int) -> float:
    """Return the R1 weight 0.0002·H·W/batch, the ADA reference's rule of thumb."""
    return 0.0002 * shape.height * shape.width / batch


FP16_CLAMP = 256.0
"""What the reference presets clamp activations to. Only fp16 can overflow: bf16 and fp32 runs have no clamp, which
costs a tenth of the time on a processor."""


def with_fp16_clamp(config: RunConfig) -> RunConfig:
    """Return ``config`` with activations of both networks clamped, where no clamp was set."""
    return replace(
        config,
        generator=replace(config.generator, conv_clamp=config.generator.conv_clamp or FP16_CLAMP),
        discriminator=replace(config.discriminator, conv_clamp=config.discriminator.conv_clamp or FP16_CLAMP),
    )


TRANSFER_ADA_KIMG = 100.0
"""In how many thousand images p of adaptive augmentation could rise from 0 to 1, when a run starts from a network."""


def for_transfer(config: RunConfig) -> RunConfig:
    """Return ``config`` for a run that starts from another network.

    Its average is worth keeping from the start, so it has no ramp-up; and its discriminator knows much already, so
    augmentation adapts faster, unless a speed was asked for.
    Source: what the ADA reference does when it resumes from a file.
    """
    augment = config.augment
    return replace(
        config,
        ema=replace(config.ema, rampup=None),
        augment=replace(augment, kimg=TRANSFER_ADA_KIMG if augment.kimg is None else augment.kimg),
    )


def with_shape(config: RunConfig, shape: ImageShape, c_dim: int) -> RunConfig:
    """Return ``config`` for pictures of ``shape`` and labels of size ``c_dim``; nothing else changes."""
    return replace(
        config,
        generator=replace(config.generator, shape=shape, c_dim=c_dim),
        discriminator=replace(config.discriminator, shape=shape, c_dim=c_dim),
    )
