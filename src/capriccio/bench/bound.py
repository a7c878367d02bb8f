"""The bound: how fast an iteration would be if everything but its 3×3 convolutions were free.

Weight gradients and strided convolutions are slower than the forward shapes the peak is measured with, so no program on
top of the same convolutions reaches the peak. Measured are forward, data gradient and weight gradient of every shape.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from capriccio.bench.peak import filled, seconds
from capriccio.config import RunConfig

_TRIES = 3
_BACKWARD = torch.ops.aten.convolution_backward


@dataclass(frozen=True)
class Shape:
    """A 3×3 convolution on square-ish maps; sizes are those of its input."""

    inputs: int
    outputs: int
    height: int
    width: int
    resampling: str
    """"none", "up" (transposed, stride 2) or "down" (stride 2 on a map with the filter's border)."""


@dataclass(frozen=True)
class Bound:
    """Images per second with everything but the 3×3 convolutions free."""

    train_images_per_second: float
    generate_images_per_second: float


def convolution_bound(config: RunConfig, device: torch.device, dtype: torch.dtype) -> Bound:
    """Measure every shape of both networks, three passes each, and add them up as an iteration does."""
    loss = config.loss
    pl = 1 / loss.pl_batch_shrink / (loss.pl_interval or 1) if loss.pl_weight > 0 else 0.0
    r1 = 1 / (loss.r1_interval or 1) if loss.r1_gamma > 0 else 0.0
    training = generating = 0.0
    for shape in _generator_shapes(config):
        forward, data, weight = _pass_seconds(shape, config.batch, device, dtype)
        generating += forward
        # Twice forward (G main, D main), once backward; the path length differentiates forward and data once more.
        training += (2 + 2 * pl) * forward + (1 + 2 * pl) * data + (1 + 2 * pl) * weight
    for shape in _discriminator_shapes(config):
        forward, data, weight = _pass_seconds(shape, config.batch, device, dtype)
        # Fakes for G, fakes and reals for D; G main needs no weight gradient.
        training += (3 + 2 * r1) * forward + (3 + 2 * r1) * data + (2 + 2 * r1) * weight
    return Bound(config.batch / training, config.batch / generating)


def _generator_shapes(config: RunConfig) -> Iterator[Shape]:
    net = config.generator
    for level in net.shape.levels:
        (height, width), channels = net.shape.size_at(level), net.channels_at(level)
        if level > 4:
            yield Shape(net.channels_at(level // 2), channels, height // 2, width // 2, "up")
        yield Shape(channels, channels, height, width, "none")


def _discriminator_shapes(config: RunConfig) -> Iterator[Shape]:
    net = config.discriminator
    for level in net.shape.levels:
        (height, width), channels = net.shape.size_at(level), net.channels_at(level)
        yield Shape(channels + (net.mbstd_num_channels if level == 4 else 0), channels, height, width, "none")
        if level > 4:
            yield Shape(channels, net.channels_at(level // 2), height + 1, width + 1, "down")


def _pass_seconds(shape: Shape, batch: int, device: torch.device, dtype: torch.dtype) -> tuple[float, float, float]:
    """Return seconds of forward, data gradient and weight gradient."""
    up = shape.resampling == "up"
    stride, padding = ([1, 1], [1, 1]) if shape.resampling == "none" else ([2, 2], [0, 0])
    x = filled((batch, shape.inputs, shape.height, shape.width), device, dtype)
    sides = (shape.inputs, shape.outputs) if up else (shape.outputs, shape.inputs)
    weight = filled((*sides, 3, 3), device, dtype)

    def forward() -> torch.Tensor:
        return torch.convolution(x, weight, None, stride, padding, [1, 1], up, [0, 0], 1)

    with torch.inference_mode():
        gradient = forward()

        def backward(*, of_data: bool) -> None:
            _BACKWARD(gradient, x, weight, None, stride, padding, [1, 1], up, [0, 0], 1, [of_data, not of_data, False])

        passes = (forward, lambda: backward(of_data=True), lambda: backward(of_data=False))
        forward_s, data_s, weight_s = (statistics.median(seconds(one, device) for _ in range(_TRIES)) for one in passes)
    return forward_s, data_s, weight_s
