"""Directions that a network offers by itself, to be looked at and named: of its style weights, and of its W.

* *Factors* of the style weights: the layers see w only through their affine maps A, so that a unit move d changes the
  styles by |A·d|; the moves that change them most are the first eigenvectors of AᵀA, stacked over the chosen layers.
  Closed form, no samples. Idea: Shen and Zhou 2021 (SeFa).
* *Components* of W: the moves along which latents differ most, the first eigenvectors of their covariance. They are the
  same for every choice of layers; what they change depends on the rows they are added to. Idea: Härkönen et al. 2020
  (GANSpace).

Both are scaled so that strength 1 is one standard deviation of W along them, and turned so that their largest entry is
positive: an eigenvector has no sign of its own, and the same network shall give the same directions everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from capriccio.errors import UsageError
from capriccio.latent.directions import Direction
from capriccio.latent.mixing import describe_rows
from capriccio.latent.streams import stream
from capriccio.networks.synthesis import SynthesisNetwork

if TYPE_CHECKING:
    from capriccio.loading.model import Model

UNIT = "one standard deviation of W along it"


def sample_w(model: Model, count: int, seed: int = 0) -> Tensor:
    """Return ``count`` latents drawn from W, [count, w_dim]; a conditional network's classes take turns.

    Raises: UsageError if there are fewer than two.
    """
    if count < 2:
        raise UsageError(f"directions need at least 2 samples of W, got {count}.")
    z = torch.randn(count, model.z_dim, generator=stream(seed, "directions"))
    c = None
    if model.c_dim:
        c = torch.nn.functional.one_hot(torch.arange(count) % model.c_dim, model.c_dim).float()
    w: Tensor = model.ws(z, c=c)[:, 0]
    return w


def factors(model: Model, rows: Sequence[int], count: int, w: Tensor) -> list[Direction]:
    """Return the ``count`` moves that change the styles of ``rows`` most.

    Args:
        model: the network.
        rows: latent rows whose style weights are stacked.
        count: 1..w_dim.
        w: samples of W, [N, w_dim], for the length of a step.
    """
    stacked = style_weights(model.generator.synthesis, rows)
    return _directions(model, "factor", stacked.T @ stacked, rows, count, w, "eigenvectors of the style weights")


def components(model: Model, rows: Sequence[int], count: int, w: Tensor) -> list[Direction]:
    """Return the first ``count`` principal components of W, for ``rows``; arguments as in :func:`factors`."""
    return _directions(model, "component", covariance(w), rows, count, w, f"principal components of {len(w)} w")


def style_weights(synthesis: SynthesisNetwork, rows: Sequence[int]) -> Tensor:
    """Return the weights of all affine maps that see one of ``rows``, stacked, [sum of channels, w_dim]."""
    return torch.cat([affine.weight.detach() for row, affine in synthesis.affines() if row in set(rows)])


def covariance(w: Tensor) -> Tensor:
    """Return the covariance of samples [N, w_dim], [w_dim, w_dim]."""
    centred = w - w.mean(dim=0)
    return centred.T @ centred / len(w)


def _directions(
    model: Model, word: str, matrix: Tensor, rows: Sequence[int], count: int, w: Tensor, source: str
) -> list[Direction]:
    if not 1 <= count <= model.w_dim:
        raise UsageError(f"count: this model has 1..{model.w_dim} directions of a kind, got {count}.")
    rows = tuple(rows)
    where = "all" if len(rows) == model.num_ws else describe_rows(rows, model.num_ws)
    label = "".join(letter if letter.isalnum() else "-" for letter in where)
    # In double precision on the processor: near eigenvalues would otherwise change places from machine to machine.
    _, vectors = torch.linalg.eigh(matrix.cpu().double())
    found = vectors.flip(1).T[:count]
    found = found * found.gather(1, found.abs().argmax(dim=1, keepdim=True)).sign()
    steps = (w.cpu().double() @ found.T).std(dim=0, correction=0)
    return [
        Direction(name=f"{word}-{label}-{i}", vector=(vector * step).float(), rows=rows, unit=UNIT, source=source)
        for i, (vector, step) in enumerate(zip(found, steps, strict=True), 1)
    ]
