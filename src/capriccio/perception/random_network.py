"""A fixed random network: a ruler without weights to fetch, for pictures of any shape and channel count.

Random convolutions see colours, edges and textures at several scales; they know nothing of what pictures show. A
distance in their features is repeatable anywhere and says nothing about what people would see.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from capriccio.ops.quantize import dequantize
from capriccio.perception.pixels import resize
from capriccio.perception.protocols import NOT_COMPARABLE, NetworkCard
from capriccio.perception.weights import tensors_sha256

SIDE = 64
WIDTHS = (32, 64, 128, 256)
SEED = 2015


class RandomFeatures:
    """Four convolutions with stride 2 and leaky ReLU; features are the means over space of every one of them."""

    def __init__(self, channels: int, device: torch.device | str = "cpu") -> None:
        """Args: image channels of the pictures it will see; where it computes."""
        rng = np.random.RandomState(SEED)  # its stream is guaranteed to stay the same for ever
        self._weights: list[Tensor] = []
        inputs = channels
        for width in WIDTHS:
            weight = rng.randn(width, inputs, 3, 3) / math.sqrt(inputs * 9)
            self._weights.append(torch.from_numpy(weight).float().to(device))
            inputs = width
        self._device = device
        self.card = NetworkCard(
            name="random-4",
            weights=tensors_sha256({str(i): w for i, w in enumerate(self._weights)}),
            preprocessing=f"antialiased bilinear to {SIDE}×{SIDE}; x/127.5 − 1",
            caveat=NOT_COMPARABLE,
        )
        self.num_features = sum(WIDTHS)

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Return features [N, 480] of ``pixels`` [N, C, H, W] in 0…255."""
        x = dequantize(resize(pixels.to(self._device, torch.float32), SIDE, SIDE))
        means = []
        for weight in self._weights:
            x = functional.leaky_relu(functional.conv2d(x, weight, stride=2, padding=1), 0.2) * math.sqrt(2)
            means.append(x.mean(dim=(2, 3)))
        return torch.cat(means, dim=1)
