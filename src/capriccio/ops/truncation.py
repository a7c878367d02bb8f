"""Truncation trick in W: trade variety for typicality by moving latents towards their mean."""

from __future__ import annotations

import torch
from torch import Tensor

from capriccio.errors import ShapeError, UsageError

MAX_PSI = 10
"""Largest |ψ| that is taken for meant: far below it pictures fall apart."""


def psi_problem(psi: float) -> str | None:
    """Return what is wrong with ψ as the start of a message, None where nothing is."""
    if -MAX_PSI <= psi <= MAX_PSI:
        return None
    return f"psi must lie in -{MAX_PSI}..{MAX_PSI} (1 = no truncation), got {psi}."


def cutoff_problem(cutoff: int | None, num_ws: int) -> str | None:
    """Return what is wrong with a number of truncated rows as the start of a message, None where nothing is."""
    if cutoff is None or 0 <= cutoff <= num_ws:
        return None
    return f"cutoff must lie in 0..{num_ws} for this network, got {cutoff}."


def truncate(ws: Tensor, w_avg: Tensor, *, psi: float | Tensor, cutoff: int | None = None) -> Tensor:
    """Move the coarse rows of ``ws`` towards ``w_avg`` and leave the fine rows alone.

    Args:
        ws: latents, one row per style input, [N, num_ws, w_dim]; not modified.
        w_avg: running mean of w kept by the mapping network, [w_dim].
        psi: fraction of the distance to the mean that remains; 1 = unchanged, 0 = the mean picture.
            A scalar tensor stays an input of graphs that are exported.
        cutoff: how many rows move, counted from the coarsest, 0..num_ws; None = all.

    Returns: new latents, [N, num_ws, w_dim].
    Raises: ShapeError if ``ws`` and ``w_avg`` do not fit; UsageError if ``cutoff`` is out of range.
    Source: StyleGAN (Karras, Laine, Aila 2019), appendix B.
    """
    if ws.ndim != 3 or ws.shape[2:] != w_avg.shape:
        raise ShapeError(f"ws must be [N, num_ws, {len(w_avg)}] to fit w_avg, got {list(ws.shape)}.")
    num_ws = ws.shape[1]
    if problem := cutoff_problem(cutoff, num_ws):
        raise UsageError(problem)
    cutoff = num_ws if cutoff is None else cutoff
    if not isinstance(psi, Tensor) and psi == 1:
        return ws
    coarse, fine = ws[:, :cutoff], ws[:, cutoff:]
    return torch.cat([w_avg + psi * (coarse - w_avg), fine], dim=1)
