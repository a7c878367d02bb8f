"""Named directions: the moves in W that raise one statistic of the picture and leave the others alone.

Statistics a of pictures are close to linear in w: a ≈ B·w, with B [K, w_dim] from ridge regression over a few thousand
samples. Many moves raise statistic k by one standard deviation and keep the other K − 1. Of these we take the most
probable one under the distribution of W with covariance C, so that pictures stay pictures: the shortest in the metric
C⁻¹,

    D = C·Bᵀ·(B·C·Bᵀ)⁻¹,    one column a direction, with B·D = 1.

Closed form, repeatable, and found again for every retrained network, where directions chosen by eye would have to be
chosen again. Whether the picture obeys is measured afterwards, by :func:`response`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from capriccio.errors import JobError, UsageError
from capriccio.latent.directions import Direction, move
from capriccio.latent.discovery import covariance, sample_w
from capriccio.latent.statistics import STATISTICS, Name, measure
from capriccio.progress import Progress

if TYPE_CHECKING:
    from capriccio.loading.model import Model

RIDGE = 0.1
"""Penalty of the regression as a share of the mean variance of W; 0.001 to 0.1 fit about equally well, 0.1 best."""

HELD_OUT = 0.25
"""Share of the samples that the quality of a fit is measured on."""

MIN_SAMPLES_PER_DIMENSION = 4
"""Fewer samples than this, times w_dim, leave the regression to the ridge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedDirections:
    """Named directions with what was measured of them."""

    listed: tuple[Direction, ...]
    """One for each name, in order."""
    explained: tuple[float, ...]
    """Share of each statistic's variance that is linear in w (R²), on samples the fit has not seen."""
    response: Tensor
    """[K, K]: what a step of direction (row) changes in each statistic (column), in standard deviations of each."""

    def facts(self) -> dict[str, Any]:
        """Return what was measured as plain JSON, for the file of the directions."""
        return {
            "explained": [round(value, 3) for value in self.explained],
            "response": [[round(value, 3) for value in line] for line in self.response.tolist()],
        }


def fit_directions(
    model: Model,
    names: Mapping[str, Name],
    *,
    count: int = 3000,
    batch: int = 50,
    psi: float = 0.7,
    progress: Progress | None = None,
) -> FittedDirections:
    """Find the directions of ``names`` and measure what they do.

    Args:
        model: a network of RGB pictures.
        names: which statistic gives which direction.
        count: pictures painted for the regression.
        batch: pictures painted at once.
        psi: truncation of the pictures that :func:`response` moves; the regression has full variety.
        progress: called with (done, total) pictures.

    Raises: UsageError for an unknown statistic, pictures that are not RGB, or too few samples; JobError if a statistic
        is the same in every picture, or says what another one says.
    """
    if not names:
        raise UsageError("no statistic was named.")
    if count < MIN_SAMPLES_PER_DIMENSION * model.w_dim:
        raise UsageError(f"this model's W has {model.w_dim} dimensions: at least "
                         f"{MIN_SAMPLES_PER_DIMENSION * model.w_dim} samples are needed, got {count}.")  # fmt: skip
    keys = [name.statistic for name in names.values()]
    w = sample_w(model, count)
    values = torch.cat(_measured(model, w, keys, batch, progress))
    w, values = w.cpu().double(), values.cpu().double()
    spread = values.std(dim=0)
    for key, one in zip(keys, spread, strict=True):
        if not one > 1e-6:
            raise JobError(f"'{key}' is the same in every picture of this model; leave it out.")
    scores = (values - values.mean(dim=0)) / spread
    seen = count - int(count * HELD_OUT)
    explained = _explained(_regress(w[:seen], scores[:seen]), w, scores, seen)
    moves = least_unlikely_moves(_regress(w, scores), covariance(w))
    rows = tuple(range(model.num_ws))
    listed = tuple(
        Direction(
            name=name, vector=vector.float(), rows=rows, unit=f"one standard deviation of {called.statistic}",
            about=called.about, source=f"regression of '{STATISTICS[called.statistic].about}' on {count} w, "
            "the others kept",
        )
        for (name, called), vector in zip(names.items(), moves, strict=True)
    )  # fmt: skip
    measured = response(model, listed, keys, spread, batch=batch, psi=psi)
    return FittedDirections(listed=listed, explained=tuple(explained.tolist()), response=measured)


def least_unlikely_moves(slopes: Tensor, covariance: Tensor) -> Tensor:
    """Return the moves D of the module's formula, one a row.

    Args:
        slopes: B, what each statistic gains for a step in W, [K, w_dim].
        covariance: C of W, [w_dim, w_dim].

    Returns: [K, w_dim]; ``slopes @ result.T`` is the unit matrix.
    Raises: JobError if the statistics are not independent of each other in W.
    """
    spread = slopes @ covariance
    mixed = spread @ slopes.T
    if torch.linalg.cond(mixed) > 1e6:
        raise JobError("two of the statistics say the same in this model; leave one out.")
    moves: Tensor = torch.linalg.solve(mixed, spread)
    return moves


@torch.no_grad()
def response(
    model: Model,
    directions: Sequence[Direction],
    statistics: Sequence[str],
    spread: Tensor,
    *,
    count: int = 64,
    strength: float = 1.5,
    batch: int = 50,
    psi: float = 0.7,
) -> Tensor:
    """Return what a step of each direction changes in each statistic, [directions, statistics].

    Measured on ``count`` other pictures at ``±strength`` and divided by 2·strength, in units of ``spread``
    [statistics], the standard deviations over W. A perfect set of named directions gives the unit matrix.
    """
    w_avg = model.w_avg
    w = w_avg + psi * (sample_w(model, count, seed=1) - w_avg)
    ws = w[:, None].expand(-1, model.num_ws, -1)
    lines = []
    for direction in directions:
        ends = []
        for sign in (strength, -strength):
            moved = move(ws, direction, sign)
            parts = [moved[start : start + batch] for start in range(0, count, batch)]
            ends.append(torch.cat([measure(model.images(part), statistics) for part in parts]))
        lines.append((ends[0] - ends[1]).mean(dim=0).cpu().double() / (2 * strength) / spread)
    return torch.stack(lines)


def _measured(model: Model, w: Tensor, keys: Sequence[str], batch: int, progress: Progress | None) -> list[Tensor]:
    found = []
    for start in range(0, len(w), batch):
        part = w[start : start + batch]
        found.append(measure(model.images(part[:, None].expand(-1, model.num_ws, -1)), keys))
        if progress:
            progress(start + len(part), len(w))
    return found


def _regress(w: Tensor, scores: Tensor) -> Tensor:
    """Return the slopes of ridge regression, [K, w_dim]."""
    centred = w - w.mean(dim=0)
    spread = covariance(w)
    ridge = RIDGE * spread.trace() / len(spread) * torch.eye(len(spread), dtype=w.dtype)
    slopes: Tensor = torch.linalg.solve(spread + ridge, centred.T @ scores / len(w))
    return slopes.T


def _explained(slopes: Tensor, w: Tensor, scores: Tensor, seen: int) -> Tensor:
    """Return R² of the regression on the samples after the first ``seen``, [K]."""
    told = (w[seen:] - w[:seen].mean(dim=0)) @ slopes.T + scores[:seen].mean(dim=0)
    return 1 - (scores[seen:] - told).square().mean(dim=0) / scores[seen:].var(dim=0, correction=0)
