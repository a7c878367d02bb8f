"""What a trained discriminator sees, as features for metrics and as a distance for projection.

A discriminator knows the pictures it was trained on better than any network trained on something else, needs no file to
fetch, and takes every shape. But it is a ruler only as long as it stays the same: numbers by two different
discriminators cannot be compared, so each names the hash of its own.
"""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor
from torch.nn import functional

from capriccio.config import hashed_dict
from capriccio.errors import ShapeError
from capriccio.networks.discriminator import Discriminator
from capriccio.ops.quantize import dequantize
from capriccio.perception.pixels import resize
from capriccio.perception.protocols import NOT_COMPARABLE, NetworkCard
from capriccio.perception.weights import tensors_sha256

PIXEL_WEIGHT = 1.0
"""Weight of the pixel term of the distance beside the mean over levels."""

NUM_PIXEL_SCALES = 4
"""The pixel term compares the pictures and up to three halvings of them."""

EPSILON = 1e-10


def discriminator_hash(discriminator: Discriminator) -> str:
    """Return the hash of a discriminator's configuration and tensors, hexadecimal."""
    config = json.dumps(hashed_dict(discriminator.config), sort_keys=True)
    return hashlib.sha256((config + tensors_sha256(discriminator.state_dict())).encode()).hexdigest()


class DiscriminatorFeatures:
    """Means over space of the activations after every block: a few hundred numbers a picture."""

    def __init__(self, discriminator: Discriminator, device: torch.device | str = "cpu") -> None:
        """``discriminator`` is the frozen reference; pictures of another size are resized to its own."""
        self._discriminator = discriminator.to(device)
        self._device = device
        shape = discriminator.config.shape
        self._shape = shape
        self.card = NetworkCard(
            name="discriminator",
            weights=discriminator_hash(discriminator),
            preprocessing=f"antialiased bilinear to {shape.height}×{shape.width}; x/127.5 − 1",
            caveat=NOT_COMPARABLE,
        )
        self.num_features = sum(discriminator.config.channels_at(level // 2) for level in shape.levels if level >= 8)

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Return features [N, num_features] of ``pixels`` [N, C, H, W] in 0…255.

        Raises: ShapeError if the pictures have other channels than the reference was trained on.
        """
        if pixels.shape[1] != self._shape.channels:
            raise ShapeError(
                f"the reference discriminator knows pictures of {self._shape.channels} channels, these have "
                f"{pixels.shape[1]}; name another with --reference."
            )
        images = dequantize(resize(pixels.to(self._device, torch.float32), self._shape.height, self._shape.width))
        return torch.cat([x.float().mean(dim=(2, 3)) for x in self._discriminator.features(images)], dim=1)


class DiscriminatorDistance:
    """Unit-normalised activations of every block, and pixels at several scales: a distance that needs no other file.

    Built like LPIPS with equal weights, on the network's own discriminator; the pixel term keeps colours and layout
    where the discriminator is blind.
    """

    def __init__(self, discriminator: Discriminator, device: torch.device | str = "cpu") -> None:
        """``discriminator``: that of the network whose images are compared."""
        self._discriminator = discriminator.to(device)
        self._device = device
        self._shape = discriminator.config.shape
        self.card = NetworkCard(
            name="discriminator-distance",
            weights=discriminator_hash(discriminator),
            preprocessing=f"antialiased bilinear to {self._shape.height}×{self._shape.width}",
            caveat=NOT_COMPARABLE,
        )

    def vectors(self, images: Tensor) -> Tensor:
        """Return [N, D] whose squared Euclidean distances are the distances; differentiable.

        Args:
            images: [N, C, H, W], about −1…1.
        """
        images = resize(images.to(self._device, torch.float32), self._shape.height, self._shape.width)
        activations = self._discriminator.features(images)
        parts = []
        for x in activations:
            x = x.float()
            # The small number inside the root keeps its derivative finite where nothing is active.
            unit = x / ((x.square().sum(dim=1, keepdim=True) + EPSILON**2).sqrt() + EPSILON)
            parts.append(unit.flatten(1) * (x.shape[2] * x.shape[3] * len(activations)) ** -0.5)
        scales = _halvings(images)
        parts += [s.flatten(1) * (PIXEL_WEIGHT / (s[0].numel() * len(scales))) ** 0.5 for s in scales]
        return torch.cat(parts, dim=1)


def _halvings(images: Tensor) -> list[Tensor]:
    """Return the images and halvings of them, while both sides stay even, at most NUM_PIXEL_SCALES."""
    scales = [images]
    while len(scales) < NUM_PIXEL_SCALES and all(side % 2 == 0 and side > 2 for side in scales[-1].shape[2:]):
        scales.append(functional.avg_pool2d(scales[-1], 2))
    return scales
