"""r_v: where the discriminator puts held-out pictures between those it trains on and fakes.

Source: the ADA paper, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from capriccio.augmentation.pipeline import augment
from capriccio.data.dataset import DatasetSplit, ImageDataset
from capriccio.latent.streams import stream
from capriccio.ops.quantize import dequantize
from capriccio.training.draws import SeededDraws
from capriccio.training.losses import styles
from capriccio.training.state import TrainingState

MOST_PICTURES = 64
"""Pictures of each kind that are compared."""


@dataclass(frozen=True)
class Overfitting:
    """How the discriminator tells training pictures, held-out pictures and fakes apart, all augmented alike."""

    heldout: Tensor
    """Its outputs at held-out pictures, [n], float64."""
    r_v: float
    """(mean at training pictures − mean at held-out ones)/(mean at training pictures − mean at fakes): 0 = held-out
    pictures look as real as those it trains on, 1 = they look as false as fakes. NaN where training pictures and
    fakes are not clearly told apart."""


@torch.no_grad()
def measure_overfitting(
    state: TrainingState, data: DatasetSplit, draws: SeededDraws, round_size: int
) -> Overfitting | None:
    """Compare three sets of pictures of equal size; None when nothing is held out.

    Args:
        state: networks; not changed.
        data: training pictures and held-out ones.
        draws: random numbers of this moment, for one process.
        round_size: pictures that fit into memory at once.
    """
    available = data.heldout.num_pictures
    size = min(round_size, available)
    if size == 0:
        return None
    rounds = max(min(available, MOST_PICTURES) // size, 1)
    rng = stream(draws.seed, draws.salt, draws.nimg, "overfitting", "pictures")
    indices = [torch.randperm(dataset.num_pictures, generator=rng) for dataset in (data.train, data.heldout)]
    scores: list[list[Tensor]] = [[], [], []]
    for index in range(rounds):
        # The same augmentations for all three: what differs is the pictures.
        planned = draws.augmentation("overfitting", "reals", index, size)
        inputs = draws.generator_inputs("overfitting", index, size)
        ws, _ = styles(state.generator, inputs)
        sets = [(state.generator.synthesis(ws, inputs.noise), inputs.c)]
        for dataset, order in zip((data.train, data.heldout), indices, strict=True):
            chosen = order[(torch.arange(size) + index * size) % len(order)]
            sets.append(_pictures(dataset, chosen, draws.device))
        for collected, (images, c) in zip(scores, sets, strict=True):
            seen_images = augment(images, planned, state.discriminator.forms.fir)
            collected.append(state.discriminator(seen_images, c).flatten())
    fakes, seen, unseen = (torch.cat(parts).double() for parts in scores)
    if len(seen) < 2:  # one picture has no spread to be compared with
        return Overfitting(heldout=unseen, r_v=float("nan"))
    gap = seen.mean() - fakes.mean()
    # A quotient of two differences: where the lower one drowns in noise, the number would mean nothing.
    noise = ((seen.var() + fakes.var()) / len(seen)).sqrt()
    r_v = torch.where(gap > 2 * noise, (seen.mean() - unseen.mean()) / gap, torch.nan)
    return Overfitting(heldout=unseen, r_v=float(r_v))


def _pictures(dataset: ImageDataset, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor | None]:
    images = dequantize(torch.from_numpy(dataset.images(indices.numpy())).to(device))
    labels = torch.from_numpy(dataset.labels(indices.numpy())).to(device) if dataset.c_dim else None
    return images, labels
