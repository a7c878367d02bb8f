"""Inception score: how sure a classifier is of single pictures, and how evenly it spreads over all.

Source: Salimans et al. 2016 (Improved Techniques for Training GANs), section 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

NUM_SPLITS = 10


def inception_score(probabilities: Tensor) -> tuple[float, float]:
    """Return mean and deviation (of n) of the score over ten consecutive parts.

    Args:
        probabilities: class probabilities [n, classes], n at least 10.
    """
    p = probabilities.double()
    scores = []
    for i in range(NUM_SPLITS):
        part = p[i * len(p) // NUM_SPLITS : (i + 1) * len(p) // NUM_SPLITS]
        # p·ln p → 0 where a probability is 0.
        divergence = torch.special.xlogy(part, part) - torch.special.xlogy(part, part.mean(dim=0, keepdim=True))
        scores.append(divergence.sum(dim=1).mean().exp())
    values = torch.stack(scores)
    return float(values.mean()), float(values.std(correction=0))
