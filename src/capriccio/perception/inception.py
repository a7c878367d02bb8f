"""The Inception network of 2015-12-05, with whose features FID, KID and the Inception score are defined.

It is Inception-v3 as a TensorFlow graph with 1008 outputs, and departs from the later published network: average
pooling does not count the padding, and the last block pools by maximum. Names of layers are those of the published
PyTorch conversion of its weights.

Source: Szegedy et al. 2016 (Rethinking the Inception Architecture), figures 5 to 7 and table 1; Heusel et al. 2017
(FID).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from capriccio.perception.pixels import as_rgb, resize_tf1
from capriccio.perception.protocols import NetworkCard
from capriccio.perception.weights import LoadedWeights, fill, freeze

SIDE = 299
NUM_FEATURES = 2048
NUM_CLASSES = 1008

Size = int | tuple[int, int]


class ConvUnit(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Size, *, stride: int = 1, padding: Size = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, H, W] → [N, out, H', W']."""
        return functional.relu(self.bn(self.conv(x)))


def _average(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """35×35: 1×1, 5×5, two 3×3, pooled (figure 5)."""

    def __init__(self, channels: int, pool_channels: int) -> None:
        super().__init__()
        self.branch1x1 = ConvUnit(channels, 64, 1)
        self.branch5x5_1 = ConvUnit(channels, 48, 1)
        self.branch5x5_2 = ConvUnit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvUnit(channels, 64, 1)
        self.branch3x3dbl_2 = ConvUnit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvUnit(96, 96, 3, padding=1)
        self.branch_pool = ConvUnit(channels, pool_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, 35, 35] → [N, 224 + pool_channels, 35, 35]."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_average(x))], dim=1)


class BlockB(nn.Module):
    """35×35 to 17×17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvUnit(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvUnit(channels, 64, 1)
        self.branch3x3dbl_2 = ConvUnit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvUnit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, 35, 35] → [N, 480 + C, 17, 17]."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, stride=2)], dim=1)


class BlockC(nn.Module):
    """17×17: 1×1, 7×7 as 1×7 and 7×1, twice that, pooled (figure 6)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        flat, tall = (0, 3), (3, 0)
        self.branch1x1 = ConvUnit(channels, 192, 1)
        self.branch7x7_1 = ConvUnit(channels, width, 1)
        self.branch7x7_2 = ConvUnit(width, width, (1, 7), padding=flat)
        self.branch7x7_3 = ConvUnit(width, 192, (7, 1), padding=tall)
        self.branch7x7dbl_1 = ConvUnit(channels, width, 1)
        self.branch7x7dbl_2 = ConvUnit(width, width, (7, 1), padding=tall)
        self.branch7x7dbl_3 = ConvUnit(width, width, (1, 7), padding=flat)
        self.branch7x7dbl_4 = ConvUnit(width, width, (7, 1), padding=tall)
        self.branch7x7dbl_5 = ConvUnit(width, 192, (1, 7), padding=flat)
        self.branch_pool = ConvUnit(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 768, 17, 17] → [N, 768, 17, 17]."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average(x))], dim=1)


class BlockD(nn.Module):
    """17×17 to 8×8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvUnit(channels, 192, 1)
        self.branch3x3_2 = ConvUnit(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvUnit(channels, 192, 1)
        self.branch7x7x3_2 = ConvUnit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvUnit(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvUnit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 768, 17, 17] → [N, 1280, 8, 8]."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, functional.max_pool2d(x, 3, stride=2)], dim=1)


class BlockE(nn.Module):
    """8×8: branches that fork into 1×3 and 3×1 (figure 7)."""

    def __init__(self, channels: int, pooling: Literal["average", "maximum"]) -> None:
        super().__init__()
        flat, tall = (0, 1), (1, 0)
        self.pooling = pooling
        self.branch1x1 = ConvUnit(channels, 320, 1)
        self.branch3x3_1 = ConvUnit(channels, 384, 1)
        self.branch3x3_2a = ConvUnit(384, 384, (1, 3), padding=flat)
        self.branch3x3_2b = ConvUnit(384, 384, (3, 1), padding=tall)
        self.branch3x3dbl_1 = ConvUnit(channels, 448, 1)
        self.branch3x3dbl_2 = ConvUnit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvUnit(384, 384, (1, 3), padding=flat)
        self.branch3x3dbl_3b = ConvUnit(384, 384, (3, 1), padding=tall)
        self.branch_pool = ConvUnit(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, 8, 8] → [N, 2048, 8, 8]."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = _average(x) if self.pooling == "average" else functional.max_pool2d(x, 3, stride=1, padding=1)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(pooled),
            ],
            dim=1,
        )


class Inception2015(nn.Module):
    """Images [N, 3, 299, 299] in −1…1 to pooled features [N, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvUnit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvUnit(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvUnit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvUnit(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvUnit(80, 192, 3)
        self.Mixed_5b = BlockA(192, pool_channels=32)
        self.Mixed_5c = BlockA(256, pool_channels=64)
        self.Mixed_5d = BlockA(288, pool_channels=64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, width=128)
        self.Mixed_6c = BlockC(768, width=160)
        self.Mixed_6d = BlockC(768, width=160)
        self.Mixed_6e = BlockC(768, width=192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, pooling="average")
        self.Mixed_7c = BlockE(2048, pooling="maximum")
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features before the classifier."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = functional.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean(dim=(2, 3))


class InceptionFeatures:
    """The feature network of FID, KID (features) and of the Inception score (probabilities)."""

    def __init__(self, weights: LoadedWeights, device: torch.device | str = "cpu") -> None:
        """Raises: SnapshotError if ``weights`` are those of another network."""
        self._network = Inception2015()
        fill(self._network, weights, "inception", ignore=("AuxLogits.",))
        freeze(self._network, device)
        self._device = device
        self.card = NetworkCard(
            name="inception-2015",
            weights=weights.sha256,
            preprocessing=f"grey to RGB; TensorFlow 1 bilinear to {SIDE}×{SIDE}, no antialiasing; (x − 128)/128",
        )
        self.num_features = NUM_FEATURES

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Return pooled features [N, 2048] of ``pixels`` [N, 1 or 3, H, W] in 0…255."""
        rgb = as_rgb(pixels, "inception").to(self._device, torch.float32)
        resized = (resize_tf1(rgb, SIDE, SIDE) - 128) / 128
        features: Tensor = self._network(resized.contiguous(memory_format=torch.channels_last))
        return features

    @torch.no_grad()
    def features_and_probabilities(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [N, 2048] and class probabilities [N, 1008], the classifier's bias left out as is custom."""
        features = self.features(pixels)
        return features, (features @ self._network.fc.weight.T).softmax(dim=1)
