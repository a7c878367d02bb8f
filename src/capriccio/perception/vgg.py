"""VGG-16: features of its second dense layer (precision and recall), and the trunk of LPIPS.

Source: Simonyan, Zisserman 2015, table 1, configuration D. Names of layers are those of the published weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from capriccio.ops.quantize import dequantize
from capriccio.perception.normalise import imagenet
from capriccio.perception.pixels import as_rgb, resize
from capriccio.perception.protocols import NetworkCard
from capriccio.perception.weights import LoadedWeights, fill, freeze

SIDE = 224
NUM_FEATURES = 4096
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the 3×3 convolutions between two poolings."""


def _layers() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for stage in STAGES:
        for width in stage:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class VggTrunk(nn.Module):
    """The convolutions: RGB images in −1…1 to the activations after the last ReLU of every stage."""

    channels = tuple(stage[-1] for stage in STAGES)
    smallest_side = 16

    def __init__(self, weights: LoadedWeights, device: torch.device | str = "cpu") -> None:
        """Raises: SnapshotError if ``weights`` are those of another network."""
        super().__init__()
        self.features = _layers()
        fill(self, weights, "vgg", ignore=("classifier.",))
        freeze(self, device)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[N, 3, H, W] → the five activations 1_2, 2_2, 3_3, 4_3, 5_3."""
        x = imagenet(images).contiguous(memory_format=torch.channels_last)
        taps = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                taps.append(x)
            x = layer(x)
        return taps


class VggClassifier(nn.Module):
    """The whole network, as far as its second dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = _layers()
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, NUM_FEATURES), nn.ReLU(), nn.Dropout(), nn.Linear(NUM_FEATURES, NUM_FEATURES)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, 224, 224] in −1…1 to activations after the ReLU [N, 4096]."""
        x = self.features(imagenet(images).contiguous(memory_format=torch.channels_last))
        return functional.relu(self.classifier(x.flatten(1)))


class VggFeatures:
    """The feature network of precision and recall."""

    def __init__(self, weights: LoadedWeights, device: torch.device | str = "cpu") -> None:
        """Raises: SnapshotError if ``weights`` are those of another network."""
        self._network = VggClassifier()
        fill(self._network, weights, "vgg", ignore=("classifier.6.",))
        freeze(self._network, device)
        self._device = device
        self.card = NetworkCard(
            name="vgg16-fc2",
            weights=weights.sha256,
            preprocessing=f"grey to RGB; antialiased bilinear to {SIDE}×{SIDE}; mean and deviation of ImageNet",
            caveat="close to the literature's numbers, not equal: the reference program resizes in a way it does not "
            "show, and its VGG-16 is another file",
        )
        self.num_features = NUM_FEATURES

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Return activations [N, 4096] of ``pixels`` [N, 1 or 3, H, W] in 0…255."""
        rgb = as_rgb(pixels, "vgg").to(self._device, torch.float32)
        features: Tensor = self._network(dequantize(resize(rgb, SIDE, SIDE)))
        return features
