"""How far two sets of features cover each other: precision and recall, density and coverage.

Each point carries a ball that reaches to its k-th nearest neighbour in its own set; the balls of a set stand for the
region it fills.

Sources: Kynkäänniemi et al. 2019 (precision and recall); Naeem et al. 2020 (density and coverage).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from capriccio.errors import UsageError

BLOCK = 2_000
"""Rows of distances that are in memory at once; changes nothing but memory."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What share of each set lies in the region of the other, and how densely."""

    precision: float
    """Share of fakes inside the ball of some real picture: fidelity."""
    recall: float
    """Share of real pictures inside the ball of some fake: diversity."""
    density: float
    """Real balls that hold a fake, in the mean over fakes, divided by k; about 1 when the sets are alike."""
    coverage: float
    """Share of real pictures whose ball holds at least one fake."""


def coverage(fakes: Tensor, reals: Tensor, neighbours: int, *, half: bool = False) -> Coverage:
    """Compare two sets of features.

    Args:
        fakes: [n, d].
        reals: [m, d].
        neighbours: k, the neighbour to which a point's ball reaches, itself not counted.
        half: round features, distances and radii to float16, as the published precision and recall do.

    Raises: UsageError if a set has no more than ``neighbours`` points.
    """
    if min(len(fakes), len(reals)) <= neighbours:
        raise UsageError(
            f"k = {neighbours} needs more than {neighbours} pictures on both sides, got {len(fakes)} samples and "
            f"{len(reals)} real pictures."
        )
    fakes, reals = (f.half().float() if half else f.double() for f in (fakes, reals))
    real_radii, fake_radii = (_radii(points, neighbours, half) for points in (reals, fakes))
    balls_with_fake = torch.zeros(len(fakes), dtype=torch.long)  # real balls around each fake
    recalled = covered = 0
    for start, block in _distance_blocks(reals, fakes, half):
        inside_real = block <= real_radii[start : start + len(block), None]
        balls_with_fake += inside_real.sum(dim=0)
        covered += int(inside_real.any(dim=1).sum())
        recalled += int((block <= fake_radii).any(dim=1).sum())
    return Coverage(
        precision=float((balls_with_fake > 0).double().mean()),
        recall=recalled / len(reals),
        density=float(balls_with_fake.double().mean()) / neighbours,
        coverage=covered / len(reals),
    )


def _radii(points: Tensor, neighbours: int, half: bool) -> Tensor:
    """Distance of each point to its k-th nearest neighbour in the same set, [n]; copies of a point count."""
    radii = [block.kthvalue(neighbours + 1, dim=1).values for _, block in _distance_blocks(points, points, half)]
    return torch.cat(radii)


def _distance_blocks(rows: Tensor, columns: Tensor, half: bool) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, Euclidean distances [≤ BLOCK, n])."""
    # About the origin the subtraction below loses the fewest digits.
    centre = columns.mean(dim=0)
    rows, columns = rows - centre, columns - centre
    squares = columns.square().sum(dim=1)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        squared = part.square().sum(dim=1, keepdim=True) + squares - 2 * part @ columns.T
        distance = squared.clamp(min=0).sqrt()
        yield start, distance.half().float() if half else distance
