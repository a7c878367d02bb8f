"""Training of an encoder on pictures that its own network paints: there is no end of them, and each has its answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from capriccio.errors import UsageError
from capriccio.inversion.curvature import mean_curvature
from capriccio.inversion.w_statistics import WStatistics
from capriccio.latent.streams import stream
from capriccio.networks.encoder import Encoder, encoder_config
from capriccio.networks.generator import Generator
from capriccio.progress import Progress

_BETAS = (0.9, 0.99)
_WEIGHT_DECAY = 1e-4
_LARGEST_GRADIENT = 1.0
_WARMUP_STEPS = 200
_NOISE_WEIGHT = 0.25
_AVERAGE = 0.002
_PSI_RANGE = (0.5, 1.0)
_STRONGEST_NOISE = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderTraining:
    """How much an encoder learns."""

    num_images: int = 16_000
    """Pictures painted for it; it sees each once."""
    batch: int = 32
    """Pictures at once."""
    learning_rate: float = 2e-3
    """The highest one."""
    seed: int = 0
    """Of everything that is drawn."""

    def __post_init__(self) -> None:
        if self.num_images < 1 or self.batch < 1:
            raise UsageError(
                f"an encoder learns from pictures, one at least, in batches of one at least; got {self.num_images} "
                f"in batches of {self.batch}."
            )


def train_encoder(
    generator: Generator,
    statistics: WStatistics,
    settings: EncoderTraining,
    progress: Progress | None = None,
) -> Encoder:
    """Return an encoder of a network, with the network's mean curvature.

    It predicts whitened latents and the noise maps of its working level. Errors along the eigenvectors of the curvature
    are weighed by the square root of its eigenvalues: what cannot be seen cannot be learnt. Three pictures in five come
    blurred, reduced or noisy, since pictures seldom arrive as they were painted.

    Args:
        generator: an unconditional network.
        statistics: of its W.
        settings: how much.
        progress: called with (done, total): of paintings that measure the curvature, then of pictures learnt from.
    """
    device = statistics.mean.device
    curvature = mean_curvature(generator, statistics, progress=progress)
    values, axes = torch.linalg.eigh(curvature.latent.double().cpu())
    axes = axes.to(device, torch.float32)
    weights = values.clamp(min=float(values[-1]) * 1e-7).sqrt().to(device, torch.float32)
    weights = weights / weights.mean()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        config = encoder_config(generator.config)
        encoder, average = (Encoder(config).to(device) for _ in range(2))
    for network in (encoder, average):
        network.curvature.copy_(curvature.latent)
        network.noise_curvature.copy_(curvature.noise)
    average.load_state_dict(encoder.state_dict())
    average.requires_grad_(False)
    optimiser = torch.optim.AdamW(
        encoder.parameters(), lr=settings.learning_rate, betas=_BETAS, weight_decay=_WEIGHT_DECAY
    )
    rng = stream(settings.seed, "encoder")
    steps = math.ceil(settings.num_images / settings.batch)
    for step in range(steps):
        images, v, maps = painted(generator, statistics, encoder, settings.batch, rng)
        with torch.enable_grad():
            guess, guessed_maps = encoder(disturbed(images, rng))
            loss = (weights * ((guess - v) @ axes).square()).mean()
            if guessed_maps is not None and maps is not None:
                loss = loss + _NOISE_WEIGHT * (guessed_maps - maps).square().mean()
            optimiser.zero_grad()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), _LARGEST_GRADIENT)
        rate = settings.learning_rate * min(1.0, (step + 1) / min(_WARMUP_STEPS, steps))
        optimiser.param_groups[0]["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        optimiser.step()
        with torch.no_grad():
            share = min(1.0, _AVERAGE + 1 / (step + 1))
            torch._foreach_lerp_(list(average.parameters()), list(encoder.parameters()), share)
        if progress is not None:
            progress(min((step + 1) * settings.batch, settings.num_images), settings.num_images)
    average.eval()
    return average


@torch.no_grad()
def painted(
    generator: Generator, statistics: WStatistics, encoder: Encoder, count: int, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return pictures [N, C, H, W] of fresh latents and noise, with whitened latents and the maps that are guessed."""
    device = statistics.mean.device
    z = torch.randn(count, generator.config.z_dim, generator=rng).to(device)
    low, high = _PSI_RANGE
    psi = low + (high - low) * torch.rand(count, 1, generator=rng).to(device)
    v = statistics.to_v(generator.mapping(z)) * psi
    noise = [torch.randn(count, 1, *size, generator=rng).to(device) for size in generator.synthesis.noise_shapes()]
    ws = statistics.to_w(v)[:, None].expand(-1, generator.num_ws, -1)
    images = generator.synthesis(ws, noise if noise else "none").clamp(-1, 1)
    first, number = encoder.first_map, encoder.config.map_channels
    return images, v, torch.cat(noise[first : first + number], dim=1) if number else None


@torch.no_grad()
def disturbed(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return images of which a fifth each are blurred, reduced and enlarged, or noisy, each by a share of its own."""
    count, device = len(images), images.device
    kind = torch.randint(0, 5, (count, 1, 1, 1), generator=rng).to(device)
    share = torch.rand(count, 1, 1, 1, generator=rng).to(device)
    blurred = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    half = functional.avg_pool2d(images, 2)
    reduced = functional.interpolate(half, images.shape[2:], mode="bilinear", align_corners=False)
    noisy = images + torch.randn(images.shape, generator=rng).to(device) * share * _STRONGEST_NOISE
    images = torch.where(kind == 1, torch.lerp(images, blurred, share), images)
    images = torch.where(kind == 2, torch.lerp(images, reduced, share), images)
    return torch.where(kind == 3, noisy, images)
