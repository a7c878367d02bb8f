"""The objective: four phases, each a function of networks, a batch and random numbers given as tensors.

Nothing here draws a random number, changes a buffer, knows an optimiser, a logger or a rank; so every phase compiles
as one graph, and the compiled and the eager numbers agree. The regularisers differentiate with ``torch.func.grad``,
the one spelling that survives compilation (docs/design.md).

Source: StyleGAN2, section 3 and appendix B; R1 from Mescheder, Geiger, Nowozin 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from capriccio.augmentation.pipeline import Augmentation, augment
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.networks.synthesis import NoiseInput


class GeneratorInputs(NamedTuple):
    """Everything random that one evaluation of the generator needs."""

    z: Tensor
    """[N, z_dim]"""
    z_mix: Tensor
    """[N, z_dim], the second latent of style mixing."""
    mixed_rows: Tensor
    """[num_ws] bool: the rows taken from ``z_mix``; all False = unmixed."""
    c: Tensor | None
    """[N, c_dim]"""
    noise: NoiseInput
    """One map [N, 1, H, W] per layer."""


class PhaseOutput(NamedTuple):
    """What a phase returns."""

    loss: Tensor
    """Scalar to differentiate; for path lengths see :func:`path_lengths`."""
    statistics: dict[str, Tensor]
    """Detached values per sample, by the names of the field (``Loss/G/loss``)."""
    w_mean: Tensor | None
    """Batch mean of w [w_dim], for the running mean; None where the generator was not evaluated."""


def styles(generator: Generator, inputs: GeneratorInputs) -> tuple[Tensor, Tensor]:
    """Return the mixed latent rows [N, num_ws, w_dim] and the batch mean of the un-mixed w [w_dim]."""
    w = generator.mapping(inputs.z, inputs.c)
    w_mix = generator.mapping(inputs.z_mix, inputs.c)
    ws = torch.where(inputs.mixed_rows[None, :, None], w_mix[:, None], w[:, None])
    return ws, w.detach().mean(dim=0)


def generator_main(
    generator: Generator,
    discriminator: Discriminator,
    inputs: GeneratorInputs,
    augmentation: Augmentation | None = None,
) -> PhaseOutput:
    """Non-saturating logistic loss, mean softplus(−s_fake)."""
    ws, w_mean = styles(generator, inputs)
    fakes = augment(generator.synthesis(ws, inputs.noise), augmentation, discriminator.forms.fir)
    logits = discriminator(fakes, inputs.c)
    losses = F.softplus(-logits)
    statistics = _logit_statistics("fake", logits) | {"Loss/G/loss": losses.detach()}
    return PhaseOutput(losses.mean(), statistics, w_mean)


def discriminator_main(
    generator: Generator,
    discriminator: Discriminator,
    inputs: GeneratorInputs,
    reals: Tensor,
    real_c: Tensor | None,
    fake_augmentation: Augmentation | None = None,
    real_augmentation: Augmentation | None = None,
) -> PhaseOutput:
    """Logistic loss, mean softplus(s_fake) + mean softplus(−s_real), fakes and reals in one batch.

    Low-resolution layers gain from the larger batch; the minibatch statistics of the two halves are kept apart.
    """
    with torch.no_grad():
        ws, w_mean = styles(generator, inputs)
        fakes = augment(generator.synthesis(ws, inputs.noise), fake_augmentation, discriminator.forms.fir)
        reals = augment(reals, real_augmentation, discriminator.forms.fir)
    c = None if real_c is None or inputs.c is None else torch.cat([inputs.c, real_c])
    logits = discriminator(torch.cat([fakes, reals]), c, num_sets=2)
    fake_logits, real_logits = logits.chunk(2)
    losses = F.softplus(fake_logits) + F.softplus(-real_logits)
    statistics = _logit_statistics("fake", fake_logits) | _logit_statistics("real", real_logits)
    return PhaseOutput(losses.mean(), statistics | {"Loss/D/loss": losses.detach()}, w_mean)


def r1_penalty(
    discriminator: Discriminator,
    reals: Tensor,
    real_c: Tensor | None,
    augmentation: Augmentation | None = None,
    *,
    gamma: float,
) -> PhaseOutput:
    """R1: gamma/2 times the squared gradient of the logits at real images, mean over the batch.

    The gradient is taken at the images before they are augmented: it flows back through the augmentation.
    """

    def score(images: Tensor) -> tuple[Tensor, Tensor]:
        logits = discriminator(augment(images, augmentation, discriminator.forms.fir), real_c)
        return logits.sum(), logits

    gradients, logits = torch.func.grad(score, has_aux=True)(reals)
    penalties = gradients.float().square().sum(dim=(1, 2, 3))
    losses = penalties * (gamma / 2)
    statistics = _logit_statistics("real", logits)
    statistics |= {"Loss/r1_penalty": penalties.detach(), "Loss/D/reg": losses.detach()}
    return PhaseOutput(losses.mean(), statistics, None)


def path_lengths(generator: Generator, inputs: GeneratorInputs, pl_noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return path lengths [N], to be given a cotangent by :func:`path_length_cotangent`, and the mean of w.

    Args:
        generator: the network.
        inputs: a batch; the lengths are derivatives with respect to its mixed rows ws.
        pl_noise: standard normal images [N, C, H, W].

    Source: StyleGAN2, section 3.2, with lengths divided by √(H·W) and averaged over rows, as its program has it.
    """
    ws, w_mean = styles(generator, inputs)
    direction = pl_noise / (pl_noise.shape[2] * pl_noise.shape[3]) ** 0.5

    def projection(rows: Tensor) -> Tensor:
        projected: Tensor = (generator.synthesis(rows, inputs.noise) * direction).sum()
        return projected

    jacobian = torch.func.grad(projection)(ws)
    lengths: Tensor = jacobian.square().sum(dim=2).mean(dim=1).sqrt()
    return lengths, w_mean


class PathLengthStep(NamedTuple):
    """What follows from the lengths of a whole batch."""

    pl_mean: Tensor
    """The new running mean, scalar."""
    penalties: Tensor
    """(length − mean)², [n]."""
    cotangent: Tensor
    """Derivative of the loss mean(penalties)·weight with respect to each of these lengths, [n]."""


def path_length_cotangent(
    lengths: Tensor, pl_mean: Tensor, *, total: Tensor, count: int, weight: float, decay: float
) -> PathLengthStep:
    """Differentiate the path length penalty by hand, from sums that are easy to share between processes.

    The running mean a ← a + decay·(mean length − a) used in the penalty (length − a)² is not a constant: it depends on
    every length of the batch. With l̄ the batch mean,
    ∂/∂l_n [weight·mean (l − a)²] = 2·weight/N·((l_n − a) − decay·(l̄ − a)).

    Args:
        lengths: path lengths of this process, [n]; only their values are used.
        pl_mean: the running mean a before the step, scalar.
        total: sum of the lengths over all processes, scalar.
        count: number of lengths N over all processes.
        weight: weight of the penalty.
        decay: decay of the running mean.
    """
    lengths = lengths.detach()
    mean = total / count
    a = pl_mean + decay * (mean - pl_mean)
    cotangent = (2 * weight / count) * ((lengths - a) - decay * (mean - a))
    return PathLengthStep(a, (lengths - a).square(), cotangent)


def _logit_statistics(kind: str, logits: Tensor) -> dict[str, Tensor]:
    logits = logits.detach()
    return {f"Loss/scores/{kind}": logits, f"Loss/signs/{kind}": logits.sign()}
