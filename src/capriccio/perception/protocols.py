"""What a feature network and a perceptual distance are; metrics, projection and detection take any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

NOT_COMPARABLE = "not comparable with the literature"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCard:
    """Which network it is, so that two numbers can be told to come from the same one."""

    name: str
    """Such as "inception-2015" or "lpips-vgg"."""
    weights: str
    """SHA-256 of its weights, hexadecimal."""
    preprocessing: str
    """What happens to a picture before the first layer, in words."""
    caveat: str = ""
    """Why its numbers cannot be held against published ones; empty = they can."""


class FeatureNetwork(Protocol):
    """Pictures to feature vectors, for metrics over sets."""

    @property
    def card(self) -> NetworkCard:
        """Which network it is."""
        ...

    @property
    def num_features(self) -> int:
        """Length of a feature vector."""
        ...

    def features(self, pixels: Tensor) -> Tensor:
        """Return features, float32 [N, num_features].

        Args:
            pixels: [N, C, H, W], 0…255, bytes or floats.
        """
        ...


class PerceptualDistance(Protocol):
    """How different two pictures look, as a squared Euclidean distance of vectors.

    The vectors, not the number, are the primitive: a set of pictures is embedded once and compared many times, and
    optimisers that need residuals have them.
    """

    @property
    def card(self) -> NetworkCard:
        """Which network it is."""
        ...

    def vectors(self, images: Tensor) -> Tensor:
        """Return [N, D] whose squared Euclidean distances are the distances; differentiable.

        D depends on the size of the images.

        Args:
            images: [N, C, H, W], about −1…1.
        """
        ...


def distances(metric: PerceptualDistance, a: Tensor, b: Tensor) -> Tensor:
    """Return the distance of each image of ``a`` from that of ``b`` (both [N, C, H, W], about −1…1), [N]."""
    return (metric.vectors(a) - metric.vectors(b)).square().sum(dim=1)
