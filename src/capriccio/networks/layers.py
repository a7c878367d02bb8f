"""Layers with equalised learning rate, and the minibatch standard deviation.

Every constant gain (equalised learning rate, √2 after leaky ReLU, √½ of residual branches) is folded into the small
weights and biases, never multiplied onto feature maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from capriccio.config import Activation
from capriccio.networks.forms import Formed
from capriccio.ops.activation import bias_act, default_gain, is_homogeneous, leaky_relu_clamp
from capriccio.ops.conv import Resampling, conv2d_resample
from capriccio.ops.layout import memory_format
from capriccio.ops.resample import make_filter

SQRT_HALF = 0.5**0.5
"""Gain of both branches of a residual block: their sum varies as much as each would alone."""


class EqualizedLinear(nn.Module):
    """Dense layer with equalised learning rate: effective weight = ``weight``·λ/√in, effective bias = ``bias``·λ.

    Source: Karras et al. 2018 (progressive GAN), section 4.1; λ from StyleGAN, section 4.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: Activation = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.lr_multiplier = lr_multiplier
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init)))

    def forward(self, x: Tensor) -> Tensor:
        """[N, in] → [N, out]."""
        gain = default_gain(self.activation) if is_homogeneous(self.activation) else 1.0
        total = gain * self.lr_multiplier
        bias = self.bias if total == 1 else self.bias * total
        # The scale of the weight is the matrix product's own factor: no scaled copy, and none of its gradient.
        scale = total / self.weight.shape[1] ** 0.5
        y = torch.addmm(bias.to(x.dtype), x, self.weight.to(x.dtype).t(), alpha=scale)
        if self.activation == "linear":
            return y
        return bias_act(y, activation=self.activation, gain=default_gain(self.activation) / gain)

    def extra_repr(self) -> str:
        """Shape, activation and multiplier, for printing."""
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}, activation={self.activation}, lr_multiplier={self.lr_multiplier:g}"


class EqualizedConv2d(Formed):
    """Convolution with equalised learning rate, resampling, bias, activation, gain and clamp.

    Source: StyleGAN2, appendix B.
    """

    filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        activation: Activation = "linear",
        resampling: Resampling = "none",
        resample_filter: tuple[int, ...] = (1, 3, 3, 1),
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.resampling: Resampling = resampling
        self.conv_clamp = conv_clamp
        self.weight = nn.Parameter(conv_weight(out_channels, in_channels, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("filter", make_filter(resample_filter), persistent=False)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """[N, I, H, W] → [N, O, H', W'] in the dtype of ``x``; ``gain`` scales the result and the clamp."""
        total = default_gain(self.activation) * gain
        folded = total if is_homogeneous(self.activation) else 1.0
        scale = folded / self.weight[0].numel() ** 0.5
        weight = (self.weight * scale).to(x.dtype, memory_format=memory_format(self.forms))
        bias = None if self.bias is None else (self.bias * folded).to(x.dtype)
        late_bias = bias if self.resampling == "up" else None
        y = conv2d_resample(
            x, weight, self.filter, resampling=self.resampling, bias=None if late_bias is not None else bias,
            forms=self.forms,
        )  # fmt: skip
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        if self.activation == "lrelu" and late_bias is None:
            return leaky_relu_clamp(y, clamp)
        return bias_act(y, late_bias, activation=self.activation, gain=total / folded, clamp=clamp)

    def extra_repr(self) -> str:
        """Shape, resampling and activation, for printing."""
        out_channels, in_channels, kernel_size, _ = self.weight.shape
        return f"{in_channels}, {out_channels}, {kernel_size}, {self.resampling}, activation={self.activation}"


def conv_weight(out_channels: int, in_channels: int, kernel_size: int, *, transposed: bool = False) -> Tensor:
    """Draw a raw convolution weight N(0, 1), [O, I, k, k], in the layout its convolution takes.

    Convolutions take weights and return their gradients channels last, a transposed one with inputs and outputs
    exchanged: stored in that layout, casting a weight, adding its gradients, and everything the optimiser and the
    average do, runs over memory in order.
    """
    weight = torch.randn(out_channels, in_channels, kernel_size, kernel_size)
    if transposed:
        return weight.transpose(0, 1).contiguous(memory_format=torch.channels_last).transpose(0, 1)
    return weight.contiguous(memory_format=torch.channels_last)


class MinibatchStdDev(nn.Module):
    """Append channels with the standard deviation over groups of the batch, so that D can see a lack of variety.

    Sample n belongs to group n mod M (members are M apart). Any batch is accepted: the group shrinks to the largest
    divisor of the batch that is at most ``group_size``.
    Source: Karras et al. 2018 (progressive GAN), section 3.
    """

    def __init__(self, group_size: int | None = 4, num_channels: int = 1) -> None:
        super().__init__()
        self.group_size = group_size
        self.num_channels = num_channels

    def forward(self, x: Tensor, num_sets: int = 1) -> Tensor:
        """[N, C, H, W] → [N, C + num_channels, H, W]; ``num_sets`` equal parts of the batch are kept apart."""
        n, c, h, w = x.shape
        f, per_set = self.num_channels, n // num_sets
        group = largest_divisor(per_set, per_set if self.group_size is None else self.group_size)
        y = x.float().reshape(num_sets, group, per_set // group, f, c // f, h, w)
        # Not var(): over a middle dimension it takes 2.8 ms where this takes 0.07 (32 maps of 256×4×4).
        y = y - y.mean(dim=1, keepdim=True)
        y = (y.square().mean(dim=1) + 1e-8).sqrt().mean(dim=(3, 4, 5))
        y = y[:, None].expand(num_sets, group, -1, f).reshape(n, f, 1, 1).expand(n, f, h, w)
        return torch.cat([x, y.to(x.dtype)], dim=1)

    def extra_repr(self) -> str:
        """Group size and channels, for printing."""
        return f"group_size={self.group_size}, num_channels={self.num_channels}"


def largest_divisor(n: int, at_most: int) -> int:
    """Return the largest divisor of ``n`` that is at most ``at_most`` (and at least 1)."""
    return next(d for d in range(min(n, max(at_most, 1)), 0, -1) if n % d == 0)
