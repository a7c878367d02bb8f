"""The synthesis network: latent rows and noise maps to images, in skip, resnet and orig form.

Source: StyleGAN2, section 2 (weight demodulation) and section 4.1 (architectures, figure 7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from capriccio.config import GeneratorConfig
from capriccio.networks.forms import Formed
from capriccio.networks.layers import SQRT_HALF, EqualizedConv2d, EqualizedLinear, conv_weight
from capriccio.networks.precision import low_precision_levels
from capriccio.ops.activation import SQRT2, noise_bias_leaky_relu
from capriccio.ops.conv import Resampling
from capriccio.ops.layout import memory_format
from capriccio.ops.modulated_conv import SharedWeight, modulated_conv2d, modulated_to_rgb
from capriccio.ops.resample import make_filter, upsample2d

NoiseInput = Literal["const", "none"] | Sequence[Tensor]
"""The stored maps, no noise, or one map [N or 1, 1, H, W] for each layer in the order of ``Synthesis.noise_shapes``."""


class StyledConv(Formed):
    """Modulated 3×3 convolution with noise, bias, leaky ReLU and clamp."""

    noise_const: Tensor
    filter: Tensor

    def __init__(
        self,
        config: GeneratorConfig,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        resampling: Resampling,
    ) -> None:
        super().__init__()
        self.size = size
        self.resampling: Resampling = resampling
        self.conv_clamp = config.conv_clamp
        self.affine = EqualizedLinear(config.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(conv_weight(out_channels, in_channels, 3, transposed=resampling == "up"))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.use_noise = config.use_noise
        self.demodulate = config.demodulate
        if config.use_noise:
            self.noise_strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise_const", torch.randn(*size))
        self.register_buffer("filter", make_filter(config.resample_filter), persistent=False)
        self._kept: tuple[Tensor, int, torch.dtype, SharedWeight] | None = None

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, gain: float = 1.0) -> Tensor:
        """Return features [N, O, H, W].

        Args:
            x: features [N, I, h, w].
            w: latent row of this layer [N, w_dim].
            noise: map [N or 1, 1, H, W]; None = no noise.
            gain: factor on the result and the clamp.
        """
        total = SQRT2 * gain
        # Demodulation cancels any factor of the weight; without it the equalised learning rate must scale it.
        weight = self.weight if self.demodulate else self.weight * (1 / self.weight[0].numel() ** 0.5)
        y = modulated_conv2d(
            x, weight, self.affine(w), self.filter, resampling=self.resampling, demodulate=self.demodulate, gain=total,
            shared=self._kept_weight(x.dtype), forms=self.forms,
        )  # fmt: skip
        strength = None if noise is None else self.noise_strength * total
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return noise_bias_leaky_relu(y, noise, strength, self.bias * total, clamp=clamp, form=self.forms.epilogue)

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles take over: all but what is kept of the weight, whose version counts anew in them."""
        return {**self.__dict__, "_kept": None}

    def _kept_weight(self, dtype: torch.dtype) -> SharedWeight | None:
        """Return what is prepared of the weight, kept from call to call while it is the same; None in training mode.

        Casting weights and summing their squares takes a twentieth of the time of generating a batch of 16 on a
        processor, and more of a smaller one.
        """
        weight = self.weight
        if torch.compiler.is_compiling():
            return None
        if self.training or torch.is_grad_enabled() or weight.is_inference():
            # Whoever records derivatives may be about to change the weight, and PyTorch's fused optimisers do that
            # without counting up its version.
            self._kept = None
            return None
        kept = self._kept  # read once: another thread may paint with the same network
        if kept is None or kept[0] is not weight or kept[1:3] != (weight._version, dtype):
            self._kept = kept = (weight, weight._version, dtype, SharedWeight.of(weight, dtype))
        return kept[3]


class ToRGB(Formed):
    """Modulated 1×1 convolution to image channels; no demodulation, no noise."""

    def __init__(self, config: GeneratorConfig, in_channels: int) -> None:
        super().__init__()
        self.conv_clamp = config.conv_clamp
        self.affine = EqualizedLinear(config.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(config.shape.channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.shape.channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, I, H, W] and the latent row [N, w_dim] → [N, img_channels, H, W], float32."""
        styles = self.affine(w) * (1 / math.sqrt(x.shape[1]))
        rgb = modulated_to_rgb(x, self.weight, styles, self.bias, self.forms.rgb)
        if self.conv_clamp is not None:
            rgb = rgb.clamp(-self.conv_clamp, self.conv_clamp)
        return rgb.float()


class SynthesisBlock(Formed):
    """The layers of one level: ×2 up (or the learned constant), two convolutions, toRGB."""

    filter: Tensor

    def __init__(self, config: GeneratorConfig, level: int) -> None:
        super().__init__()
        self.level = level
        self.architecture = config.architecture
        size, channels = config.shape.size_at(level), config.channels_at(level)
        is_first, is_last = level == 4, level == config.shape.levels[-1]
        below = config.channels_at(level // 2)
        if is_first:
            # Not called `const`: exported C++ code turns parameter names into identifiers.
            self.constant_input = nn.Parameter(torch.randn(channels, *size))
        self.conv0 = None if is_first else StyledConv(config, below, channels, size, "up")
        self.conv1 = StyledConv(config, channels, channels, size, "none")
        self.to_rgb = ToRGB(config, channels) if is_last or config.architecture == "skip" else None
        self.skip = (
            EqualizedConv2d(below, channels, 1, bias=False, resampling="up", resample_filter=config.resample_filter)
            if config.architecture == "resnet" and not is_first
            else None
        )
        self.register_buffer("filter", make_filter(config.resample_filter), persistent=False)

    @property
    def styled_convs(self) -> list[StyledConv]:
        """The layers that take noise, in order."""
        return [self.conv1] if self.conv0 is None else [self.conv0, self.conv1]

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, noise: Sequence[Tensor | None], dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        """Return features and image of this level.

        Args:
            x: features of the level below [N, C, h, w]; None at level 4.
            image: accumulated RGB [N, img_channels, h, w], float32; None where there is none yet.
            ws: this block's rows [N, number of convolutions + 1, w_dim].
            noise: one map, or None, for each convolution.
            dtype: the precision this block computes in.
        """
        if self.conv0 is None:
            start = self.constant_input.to(dtype)[None].expand(len(ws), -1, -1, -1)
            x = self.conv1(start.contiguous(memory_format=memory_format(self.forms)), ws[:, 0], noise[0])
        else:
            assert x is not None
            x = x.to(dtype)
            if self.skip is None:
                x = self.conv1(self.conv0(x, ws[:, 0], noise[0]), ws[:, 1], noise[1])
            else:
                short = self.skip(x, gain=SQRT_HALF)
                x = short + self.conv1(self.conv0(x, ws[:, 0], noise[0]), ws[:, 1], noise[1], gain=SQRT_HALF)
        if image is not None:
            image = upsample2d(image, self.filter, form=self.forms.fir)
        if self.to_rgb is not None:
            rgb = self.to_rgb(x, ws[:, -1])
            image = rgb if image is None else image + rgb
        return x, image


class SynthesisNetwork(nn.Module):
    """ws [N, num_ws, w_dim] to images [N, C, H, W]."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.num_ws = config.num_ws
        self.blocks = nn.ModuleDict({str(level): SynthesisBlock(config, level) for level in config.shape.levels})
        self.low_precision: torch.dtype | None = None

    def set_precision(self, dtype: torch.dtype | None) -> None:
        """Run the highest ``config.num_fp16_res`` levels in ``dtype``; None = everything in float32."""
        self.low_precision = dtype

    def styled_convs(self) -> list[StyledConv]:
        """All layers that take noise, from coarse to fine."""
        return [conv for block in self._blocks() for conv in block.styled_convs]

    def affines(self) -> list[tuple[int, EqualizedLinear]]:
        """All maps from w to styles, each with the latent row it sees, from coarse to fine.

        A block's toRGB sees the row of the next block's first convolution.
        """
        found: list[tuple[int, EqualizedLinear]] = []
        row = 0
        for block in self._blocks():
            layers: list[StyledConv | ToRGB] = [*block.styled_convs]
            if block.to_rgb is not None:
                layers.append(block.to_rgb)
            found += [(row + i, layer.affine) for i, layer in enumerate(layers)]
            row += len(block.styled_convs)
        return found

    def noise_shapes(self) -> list[tuple[int, int]]:
        """(height, width) of each noise map, from coarse to fine; empty for a network without noise."""
        return [conv.size for conv in self.styled_convs()] if self.config.use_noise else []

    def noise_consts(self) -> list[Tensor]:
        """The stored noise maps [H, W], from coarse to fine."""
        return [conv.noise_const for conv in self.styled_convs()] if self.config.use_noise else []

    def forward(self, ws: Tensor, noise: NoiseInput = "const") -> Tensor:
        """Return images [N, C, H, W], float32, about −1…1.

        Args:
            ws: latents [N, num_ws, w_dim], float32.
            noise: the stored maps, none, or one map [N or 1, 1, H, W] for each layer.
        """
        image = self.features(ws, noise)[-1][1]
        assert image is not None
        return image

    def features(self, ws: Tensor, noise: NoiseInput = "const") -> list[tuple[Tensor, Tensor | None]]:
        """Return (features, accumulated image or None) after every block, from coarse to fine."""
        low = low_precision_levels(self.config.shape.levels, self.config.num_fp16_res) if self.low_precision else ()
        maps = self._noise_maps(noise)
        x: Tensor | None = None
        image: Tensor | None = None
        outputs: list[tuple[Tensor, Tensor | None]] = []
        row = layer = 0
        for block in self._blocks():
            count = len(block.styled_convs)
            dtype = self.low_precision if self.low_precision and block.level in low else torch.float32
            x, image = block(x, image, ws[:, row : row + count + 1], maps[layer : layer + count], dtype)
            outputs.append((x, image))
            row, layer = row + count, layer + count
        return outputs

    def _blocks(self) -> list[SynthesisBlock]:
        return [block for block in self.blocks.values() if isinstance(block, SynthesisBlock)]

    def _noise_maps(self, noise: NoiseInput) -> list[Tensor | None]:
        count = len(self.styled_convs())
        if noise == "none" or not self.config.use_noise:
            return [None] * count
        if noise == "const":
            return [m[None, None] for m in self.noise_consts()]
        assert not isinstance(noise, str)
        assert len(noise) == count, "one noise map for each layer"
        return list(noise)
