"""Does a network repeat its training pictures? Nearest neighbours of samples and of held-out pictures compared.

A picture that was never trained on has some nearest training picture, too, and a plain one (fog, a blurred forest) has
a near one, because there are many like it. So a distance alone says nothing. What counts is the *ratio* of a sample's
distance to its nearest training picture and of that picture's distance to its own nearest other one: 0 for a copy,
about 1 for something new. And the ratios of samples are held against those of photographs that were held out.

Source: the comparison with the neighbour's own neighbour is that of authenticity, Alaa et al. 2022 (How Faithful is
your Synthetic Data?).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from capriccio.data.dataset import DatasetSplit, ImageDataset, open_dataset
from capriccio.errors import DatasetError
from capriccio.loading.model import Model
from capriccio.metrics.collect import Wanted, collect
from capriccio.metrics.pictures import DatasetLabels, Fakes, Reals, num_blocks
from capriccio.perception.protocols import FeatureNetwork, NetworkCard
from capriccio.processes import Processes
from capriccio.progress import Progress
from capriccio.wording import counted

NUM_NEIGHBOURS = 4
"""Nearest training pictures that are told of each sample."""

CLOSE_SHARE = 0.05
"""A sample is *close* if its ratio is smaller than those of all but the lowest 5 % of held-out pictures."""

FEWEST_HELDOUT = 20
"""Held-out pictures without which their nearest 5 % mean nothing."""

COPY_RATIO = 0.1
"""A sample ten times nearer to a training picture than that picture is to any other one is counted as a *copy*."""

_SUSPICIOUS_P, _MEMORISED_P, _MEMORISED_SHARE = 0.01, 0.001, 0.2
_ROWS = 512

Suspicion = Literal["no sign of memorisation", "suspicious", "memorised"]
"""What can be said of a network; a verdict of the detector is another thing (:class:`capriccio.Verdict`)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the distances say."""

    verdict: Suspicion
    sentence: str
    """The verdict in words, with its numbers."""
    close_share: float
    """Share of samples that are close (see CLOSE_SHARE); 0.05 is expected of a network that repeats nothing."""
    copies: int
    """Samples that are copies (see COPY_RATIO). A few of them hide among the close samples that are expected."""
    p_value: float
    """Probability of so many close samples, or more, if samples were new pictures of the same kind."""


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """Everything that was found."""

    judgement: Judgement
    network: NetworkCard
    """Whose features were compared."""
    seed: int
    """Seed of the samples."""
    samples: Tensor
    """The samples, uint8 [n, C, H, W]."""
    sample_distances: Tensor
    """Distances of every sample to its nearest training pictures, ascending, [n, NUM_NEIGHBOURS]."""
    neighbours: Tensor
    """Items of the training set at these distances, [n, NUM_NEIGHBOURS]."""
    sample_ratios: Tensor
    """Nearest distance of every sample by that neighbour's distance to its own nearest other training picture, [n]."""
    heldout_ratios: Tensor
    """The same of every held-out picture, [m]."""
    train: ImageDataset
    """The training set, mirrored items included where it was trained with them."""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding in JSON types, without pictures."""
        names = self.train.names
        return {
            "verdict": self.judgement.verdict,
            "sentence": self.judgement.sentence,
            "close_share": self.judgement.close_share,
            "copies": self.judgement.copies,
            "p_value": self.judgement.p_value,
            "network": self.network.name,
            "network_hash": self.network.weights,
            "seed": self.seed,
            "samples": [
                {"nearest": [names[i % len(names)] for i in items], "distances": distances, "ratio": ratio}
                for items, distances, ratio in zip(
                    self.neighbours.tolist(), self.sample_distances.tolist(), self.sample_ratios.tolist(), strict=True
                )
            ],
            "heldout_ratios": self.heldout_ratios.tolist(),
        }


def find_memorised(
    model: Model,
    data: str | Path,
    network: FeatureNetwork,
    *,
    count: int = 1000,
    seed: int = 0,
    batch: int = 16,
    progress: Progress | None = None,
) -> Memorisation:
    """Compare samples of a model with the pictures it was trained on.

    Args:
        model: the network; its snapshot names the pictures that were held out.
        data: the very data set it was trained on.
        network: whose features are compared.
        count: samples.
        seed: of the samples.
        batch: pictures painted at once.
        progress: called with (done, total) pictures.

    Raises: DatasetError if the pictures are others than those it was trained on, or too few were held out.
    """
    split = _training_split(model, data)
    _check_enough(len(split.heldout))
    fakes = Fakes(
        generator=model.generator,
        name=str(model.card.get("title", "model")),
        labels=DatasetLabels(split.train),
        count=count,
        seed=seed,
        psi=1.0,
        batch=batch,
        device=model.device,
    )

    def features(pictures: Fakes | Reals) -> Tensor:
        wanted = {"network": Wanted(rows=len(pictures))}
        found = collect(pictures, {"network": network}, wanted, Processes(), progress)["network"].features
        assert found is not None
        return found

    train, heldout = (features(Reals(part, len(part), model.size, "lanczos")) for part in (split.train, split.heldout))
    mean, std = train.mean(dim=0), train.std(dim=0).clamp(min=1e-6)
    train = (train - mean) / std
    own = _own_distances(train[: split.train.num_pictures])
    near_heldout = nearest((heldout - mean) / std, train, 1)
    distances, neighbours = nearest((features(fakes) - mean) / std, train, min(NUM_NEIGHBOURS, len(train)))
    ratios, heldout_ratios = (
        d[:, 0] / own[rows[:, 0] % len(own)] for d, rows in ((distances, neighbours), near_heldout)
    )
    return Memorisation(
        judgement=judge(ratios, heldout_ratios),
        network=network.card,
        seed=seed,
        samples=torch.cat([fakes.block(i) for i in range(num_blocks(count))]),
        sample_distances=distances,
        neighbours=neighbours,
        sample_ratios=ratios,
        heldout_ratios=heldout_ratios,
        train=split.train,
    )


def nearest(points: Tensor, among: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return Euclidean distances to, and rows of, the ``count`` nearest of ``among`` [m, d] for ``points`` [n, d]."""
    # Not by products of vectors, whose rounding would hide that a copy has no distance at all.
    exact = "donot_use_mm_for_euclid_dist"
    parts = torch.split(points, _ROWS)
    found = [torch.cdist(part, among, compute_mode=exact).topk(count, largest=False) for part in parts]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _own_distances(points: Tensor) -> Tensor:
    """Distance of every point [n, d] to the nearest other one; copies of each other count as very near, not as 0."""
    return nearest(points, points, 2)[0][:, 1].clamp(min=1e-6)


def judge(sample_ratios: Tensor, heldout_ratios: Tensor) -> Judgement:
    """Say whether samples [n] lie closer to training pictures than held-out pictures [m] do.

    Many samples that are a little too close show in their rank among held-out pictures, few that are copies in their
    ratio alone. A few altered copies show in neither.

    Raises: DatasetError if there are too few held-out pictures to say.
    """
    n, m = len(sample_ratios), len(heldout_ratios)
    _check_enough(m)
    rank = max(round(CLOSE_SHARE * m), 1)
    limit = heldout_ratios.kthvalue(rank).values
    close = int((sample_ratios < limit).sum())
    share, p = close / n, _tail(close, n, rank, m)
    told = (
        f"{share:.1%} of {n:,} samples lie as close to a training picture as only the closest {rank / m:.1%} of {m:,} "
        f"held-out pictures do (p = {p:.2g})"
    )
    copies = int((sample_ratios < COPY_RATIO).sum())
    told += f"; {counted(copies, 'sample is a copy', 'samples are copies')} or nearly so"
    if p < _MEMORISED_P and share >= _MEMORISED_SHARE:
        return Judgement("memorised", f"The network repeats training pictures: {told}.", share, copies, p)
    if p < _SUSPICIOUS_P or copies:
        return Judgement("suspicious", f"Some samples are too close to training pictures: {told}.", share, copies, p)
    return Judgement("no sign of memorisation", f"No sign of memorisation: {told}.", share, copies, p)


def _check_enough(heldout: int) -> None:
    if heldout < FEWEST_HELDOUT:
        raise DatasetError(
            f"the memorisation check needs at least {FEWEST_HELDOUT} held-out pictures to compare with, this model has "
            f"{heldout}; train with --holdout {FEWEST_HELDOUT} or more."
        )


def _tail(close: int, n: int, rank: int, m: int) -> float:
    """Probability that ``close`` or more of n samples come before the rank-th of m held-out pictures in a random order.

    The number is negative hypergeometric: every order of the n + m pictures is equally likely.
    """

    def log_choose(a: int, b: int) -> float:
        return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)

    whole = log_choose(n + m, n)
    terms = (log_choose(s + rank - 1, s) + log_choose(n - s + m - rank, n - s) - whole for s in range(close, n + 1))
    return min(math.fsum(math.exp(term) for term in terms), 1.0)


def _training_split(model: Model, data: str | Path) -> DatasetSplit:
    """Open the pictures a model was trained on, divided as they were then."""
    card = model.facts.data
    heldout = card.get("heldout", [])
    split = open_dataset(
        data, size=model.size, labels=model.c_dim > 0, mirror=bool(card.get("mirror")), holdout=len(heldout)
    )
    if split.train.card.hash != card.get("hash"):
        raise DatasetError(
            f"'{data}' is not the data set this model was trained on ('{card.get('name', 'not stated')}'); its "
            "neighbours are to be looked for there."
        )
    if sorted(split.heldout.names) != sorted(heldout):
        raise DatasetError(f"'{data}': other pictures would be held out now than when the model was trained.")
    return split
