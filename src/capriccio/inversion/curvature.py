"""How much pictures change along every direction of W, on average over the network's own: a scale for steps.

Along a few directions of W a picture changes a lot, along most of them hardly at all: the ratio is 100,000 and more.
The mean of JᵀJ, J the derivative of a picture's pixels by its latent, knows these directions, and they are much alike
for all pictures of one network.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from capriccio.durable import replacing
from capriccio.errors import StorageError
from capriccio.inversion.pyramid import pyramid
from capriccio.inversion.w_statistics import WStatistics
from capriccio.latent.streams import stream
from capriccio.loading.model import Model
from capriccio.networks.encoder import Encoder
from capriccio.networks.generator import Generator
from capriccio.progress import Progress

NUM_PICTURES = 8
"""Pictures over which the mean is taken."""

_PSIS = (1.0, 0.7)
_SEED = 0
_DIFFERENCE = 0.1
"""Finite difference in spreads of W: wide enough for float32, and it smooths the kinks of leaky ReLU."""
_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Curvature:
    """The mean of JᵀJ, J the derivative of :func:`pyramid` by whitened latents and by noise maps."""

    latent: Tensor
    """For whitened latents (:meth:`WStatistics.to_v`), [w_dim, w_dim]."""
    noise: Tensor
    """Its mean diagonal for one value of each noise map, from coarse to fine, [number of maps]."""


@torch.no_grad()
def mean_curvature(
    generator: Generator,
    statistics: WStatistics,
    num_pictures: int = NUM_PICTURES,
    progress: Progress | None = None,
) -> Curvature:
    """Measure it on pictures of the network itself, with random noise, half of them truncated.

    One picture takes w_dim paintings. ``progress`` is called with (done, total) of them.
    """
    rng = stream(_SEED, "curvature")
    synthesis, w_dim = generator.synthesis, statistics.mean.shape[0]
    device = statistics.mean.device
    shapes = synthesis.noise_shapes()
    total = torch.zeros(w_dim, w_dim, dtype=torch.float64)
    noise_total = [0.0] * len(shapes)
    done = 0
    for i in range(num_pictures):
        row = int(torch.randint(len(statistics.latents), (), generator=rng))
        v = statistics.to_v(statistics.latents[row : row + 1]) * _PSIS[i % len(_PSIS)]
        maps = [torch.randn(1, 1, *shape, generator=rng).to(device) for shape in shapes]

        def paint(points: Tensor, noise: list[Tensor]) -> Tensor:
            ws = statistics.to_w(points)[:, None].expand(-1, generator.num_ws, -1)
            return pyramid(synthesis(ws, [n.expand(len(points), -1, -1, -1) for n in noise] if noise else "none"))

        here = paint(v, maps)
        moves = torch.eye(w_dim, device=device) * _DIFFERENCE
        parts = []
        for part in torch.split(moves, _AT_ONCE):
            parts.append(paint(v + part, maps) - here)
            done += len(part)
            if progress is not None:
                progress(done, num_pictures * w_dim)
        rows = torch.cat(parts) / _DIFFERENCE
        total += (rows @ rows.T).double().cpu() / num_pictures
        for k, noise in enumerate(maps):
            signs = torch.randint(0, 2, noise.shape, generator=rng).to(device) * 2.0 - 1.0
            moved = [n + signs * _DIFFERENCE if j == k else n for j, n in enumerate(maps)]
            change = (paint(v, moved) - here).square().sum() / _DIFFERENCE**2
            noise_total[k] += float(change) / noise.numel() / num_pictures
    return Curvature(latent=total.to(device, torch.float32), noise=torch.tensor(noise_total, device=device))


def curvature_of(
    model: Model,
    statistics: WStatistics,
    cache: Path,
    encoder: Encoder | None = None,
    c: Tensor | None = None,
    progress: Progress | None = None,
) -> Curvature:
    """Return the curvature of a model: its encoder's, or that of an earlier time in the cache, or measured and kept.

    Args:
        model: the network.
        statistics: of its W.
        cache: the user's cache folder.
        encoder: was trained for the network, and keeps its curvature; None = there is none.
        c: the label [1, c_dim] that ``statistics`` are of.
        progress: called with (done, total) paintings if it has to be measured: minutes on a processor.
    """
    if encoder is not None and c is None:
        return Curvature(latent=encoder.curvature, noise=encoder.noise_curvature)
    label = "" if c is None else hashlib.sha256(c.float().cpu().numpy().tobytes()).hexdigest()[:8]
    path = cache / "curvatures" / f"{model.model_hash}{label}.safetensors"
    try:
        stored = load_file(path, device=str(model.device))
        return Curvature(latent=stored["latent"], noise=stored["noise"])
    except (OSError, SafetensorError, KeyError):
        pass  # not there, or damaged: it is measured anew
    curvature = mean_curvature(model.generator, statistics, progress=progress)
    try:
        with replacing(path) as file:
            file.write(save({"latent": curvature.latent.cpu().contiguous(), "noise": curvature.noise.cpu()}))
    except (OSError, StorageError):
        pass  # a cache that cannot be written costs time, no result
    return curvature
