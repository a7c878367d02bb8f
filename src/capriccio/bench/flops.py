"""How much arithmetic the networks take, by formula: what has to be computed, whatever way the code goes about it.

One multiply-add counts as two operations. Counted are convolutions, dense layers and resampling filters; additions,
activations and normalisations are not. Because the figures depend on the configuration alone, a change that saves work
raises the share of the peak instead of lowering the count.
"""

from __future__ import annotations

from itertools import pairwise

from capriccio.config import DiscriminatorConfig, GeneratorConfig, MappingConfig, RunConfig


def generator_flops(config: GeneratorConfig) -> int:
    """Return the operations of one forward pass for one image: mapping and synthesis."""
    rgb, shape = config.shape.channels, config.shape
    total = _mapping(config.mapping, config.z_dim, config.c_dim, config.w_dim)
    for level in shape.levels:
        (height, width), channels = shape.size_at(level), config.channels_at(level)
        pixels, below = height * width, config.channels_at(level // 2)
        has_rgb = config.architecture == "skip" or level == shape.levels[-1]
        if level > 4:
            # Up-sampling: the transposed convolution works on the small map, the filter on the large one.
            total += _conv(below, channels, 3, pixels // 4) + _fir(config.resample_filter, channels, pixels)
            total += _dense(config.w_dim, below)
            if config.architecture == "resnet":
                total += _conv(below, channels, 1, pixels // 4) + _fir(config.resample_filter, channels, pixels)
            if config.architecture == "skip":
                total += _fir(config.resample_filter, rgb, pixels)
        total += _conv(channels, channels, 3, pixels) + _dense(config.w_dim, channels)
        if has_rgb:
            total += _conv(channels, rgb, 1, pixels) + _dense(config.w_dim, channels)
    return total


def discriminator_flops(config: DiscriminatorConfig) -> int:
    """Return the operations of one forward pass for one image."""
    rgb, shape, taps = config.shape.channels, config.shape, config.resample_filter
    total = 0
    for level in (level for level in shape.levels if level > 4):
        (height, width), channels = shape.size_at(level), config.channels_at(level)
        pixels, below = height * width, config.channels_at(level // 2)
        if level == shape.levels[-1] or config.architecture == "skip":
            total += _conv(rgb, channels, 1, pixels)
        total += _conv(channels, channels, 3, pixels)
        # Down-sampling: the filter works on the large map, the convolution on the small one.
        total += _fir(taps, channels, pixels) + _conv(channels, below, 3, pixels // 4)
        if config.architecture == "resnet":
            total += _fir(taps, channels, pixels) + _conv(channels, below, 1, pixels // 4)
        if config.architecture == "skip":
            total += _fir(taps, rgb, pixels)
    height, width = shape.start_grid
    channels, pixels = config.channels_at(4), height * width
    if config.architecture == "skip":
        total += _conv(rgb, channels, 1, pixels)
    total += _conv(channels + config.mbstd_num_channels, channels, 3, pixels) + _dense(channels * pixels, channels)
    outputs = 1
    if config.c_dim and config.mapping.labels == "joined":
        outputs = config.c_dim
    elif config.c_dim:
        outputs = channels if config.cmap_dim is None else config.cmap_dim
        total += _mapping(config.mapping, 0, config.c_dim, outputs)
    return total + _dense(channels, outputs)


def training_flops(config: RunConfig) -> float:
    """Return the operations of a whole iteration per image, regularisers at their share.

    With g and d for a forward pass of each network, and 2 for the backward pass of one (data and weights, 1 each):

    * G main: generator forward and backward, discriminator forward and data only: 3g + 2d
    * D main: generator forward; discriminator forward and backward over fakes and reals: g + 6d
    * path length: forward, data gradient to the latents, and both differentiated again, each twice the work: 6g, on
      a part of the batch, every few iterations
    * R1: the same with the discriminator: 6d
    """
    g, d, loss = generator_flops(config.generator), discriminator_flops(config.discriminator), config.loss
    total = (3.0 * g + 2 * d) + (g + 6 * d)
    if loss.pl_weight > 0:
        total += 6 * g / loss.pl_batch_shrink / (loss.pl_interval or 1)
    if loss.r1_gamma > 0:
        total += 6 * d / (loss.r1_interval or 1)
    return total


TRAINING_FLOPS = 19.3e9
"""Fixed figure for an image trained in the default configuration of `capriccio bench`; the formula has 19.1."""
GENERATING_FLOPS = 1.42e9
"""Fixed figure for an image generated there; the formula has 1.42."""


def judged_flops(config: RunConfig, reference: RunConfig) -> tuple[float, float]:
    """Return what an image trained, and one generated, is judged by: the fixed figures scaled by the formulas.

    Args:
        config: the measured run.
        reference: the run the fixed figures belong to.
    """
    training = TRAINING_FLOPS * training_flops(config) / training_flops(reference)
    generating = GENERATING_FLOPS * generator_flops(config.generator) / generator_flops(reference.generator)
    return training, generating


def _conv(inputs: int, outputs: int, kernel_size: int, pixels: int) -> int:
    return 2 * inputs * outputs * kernel_size**2 * pixels


def _dense(inputs: int, outputs: int) -> int:
    return 2 * inputs * outputs


def _fir(taps: tuple[int, ...], channels: int, pixels: int) -> int:
    return 2 * len(taps) ** 2 * channels * pixels


def _mapping(config: MappingConfig, z_dim: int, c_dim: int, w_dim: int) -> int:
    embed = (w_dim if config.embed_dim is None else config.embed_dim) if c_dim else 0
    hidden = w_dim if config.hidden_dim is None else config.hidden_dim
    widths = [z_dim + embed, *[hidden] * (config.num_layers - 1), w_dim]
    return _dense(c_dim, embed) + sum(_dense(i, o) for i, o in pairwise(widths))
