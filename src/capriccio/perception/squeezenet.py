"""SqueezeNet 1.1: a small network trained on ImageNet, trunk of LPIPS (squeeze) and of the metrics on two cores.

Source: Iandola et al. 2016; version 1.1 of the authors' model.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from capriccio.errors import SnapshotError
from capriccio.ops.quantize import dequantize
from capriccio.perception.normalise import caffe, imagenet
from capriccio.perception.pixels import as_rgb, resize
from capriccio.perception.protocols import NOT_COMPARABLE, NetworkCard
from capriccio.perception.weights import LoadedWeights, fill, freeze

SIDE = 128
"""Pictures are resized to this for features: three times as fast as the 224 it was trained at."""

NUM_FEATURES = 512

_FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128), 9: (256, 48, 192),
          10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}  # fmt: skip
"""Channels in, squeezed and of each expansion, by place in the network."""
_POOLS = (2, 5, 8)
_TAPS = (1, 4, 7, 9, 10, 11, 12)
_NUM_LAYERS = 13


class Fire(nn.Module):
    """Squeeze by 1×1, expand by 1×1 and 3×3."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, 2·expanded, H, W]."""
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.expand1x1(x)), functional.relu(self.expand3x3(x))], dim=1)


def _layer(index: int) -> nn.Module:
    if index == 0:
        return nn.Conv2d(3, 64, 3, stride=2)
    if index == 1:
        return nn.ReLU()
    return nn.MaxPool2d(3, stride=2, ceil_mode=True) if index in _POOLS else Fire(*_FIRES[index])


class SqueezeNetTrunk(nn.Module):
    """RGB images in −1…1 to the seven activations that LPIPS reads."""

    channels = (64, 128, 256, 384, 384, 512, 512)
    smallest_side = 32

    def __init__(self, weights: LoadedWeights, device: torch.device | str = "cpu") -> None:
        """Read layers ``features.N`` (ImageNet mean and deviation) or ``net.N`` (the original, in Caffe's convention).

        Raises: SnapshotError if ``weights`` are those of another network.
        """
        super().__init__()
        self.features = nn.Sequential(*(_layer(i) for i in range(_NUM_LAYERS)))
        prefixes = {name.split(".")[0] for name in weights.tensors}
        if not prefixes & {"features", "net"}:
            raise SnapshotError("weights of squeeze: no layers 'features.N' or 'net.N'. Another network's file.")
        self.convention: Literal["caffe", "imagenet"] = "caffe" if "net" in prefixes else "imagenet"
        renamed = {name.replace("net.", "features.", 1): t for name, t in weights.tensors.items()}
        fill(self, dataclasses.replace(weights, tensors=renamed), "squeeze", ignore=("classifier.",))
        freeze(self, device)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, 3, H, W] → activations of 64, 128, 256, 384, 384, 512 and 512 channels."""
        x = caffe(images) if self.convention == "caffe" else imagenet(images)
        x = x.contiguous(memory_format=torch.channels_last)
        taps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _TAPS:
                taps.append(x)
        return taps


class SqueezeNetFeatures:
    """Its last activations, averaged over space: 512 numbers a picture."""

    def __init__(self, weights: LoadedWeights, device: torch.device | str = "cpu") -> None:
        """Raises: SnapshotError if ``weights`` are those of another network."""
        self._trunk = SqueezeNetTrunk(weights, device)
        self._device = device
        self.card = NetworkCard(
            name="squeezenet-1.1",
            weights=weights.sha256,
            preprocessing=f"grey to RGB; antialiased bilinear to {SIDE}×{SIDE}; {self._trunk.convention} input",
            caveat=NOT_COMPARABLE,
        )
        self.num_features = NUM_FEATURES

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Return features [N, 512] of ``pixels`` [N, 1 or 3, H, W] in 0…255."""
        rgb = as_rgb(pixels, "squeeze").to(self._device, torch.float32)
        last: Tensor = self._trunk(dequantize(resize(rgb, SIDE, SIDE)))[-1]
        return last.mean(dim=(2, 3))
