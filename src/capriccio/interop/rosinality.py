"""Checkpoints of the rosinality program, both ways: the format that most encoders and editors of the field expect."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capriccio.config import DiscriminatorConfig, GeneratorConfig, MappingConfig, num_channels
from capriccio.errors import SnapshotError
from capriccio.interop.field_networks import (
    build_discriminator,
    build_generator,
    discriminator_shape,
    field_tensors,
    generator_shape,
    mapping_widths,
    to_tensors,
    widths,
)
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.ops.resample import make_filter
from capriccio.snapshots.snapshot import Snapshot

W_AVG_SAMPLES = 10_000
"""Latents whose mean stands in for ``latent_avg`` where a file has none, as training checkpoints do."""

_SAME = ""
_LEADING = "[1, …]"
_NUMBER = "[1]"
_MAP = "[1, 1, …]"
_RGB = "[1, C, 1, 1]"

Row = tuple[str, str, str]
"""Their name, the field's name, and how their shape differs."""


def _styled(theirs: str, ours: str) -> Iterator[Row]:
    yield f"{theirs}.conv.weight", f"{ours}.weight", _LEADING
    yield f"{theirs}.conv.modulation.weight", f"{ours}.affine.weight", _SAME
    yield f"{theirs}.conv.modulation.bias", f"{ours}.affine.bias", _SAME
    if "rgb" in theirs:
        yield f"{theirs}.bias", f"{ours}.bias", _RGB
    else:
        yield f"{theirs}.noise.weight", f"{ours}.noise_strength", _NUMBER
        yield f"{theirs}.activate.bias", f"{ours}.bias", _SAME


def _generator_rows(levels: tuple[int, ...], depth: int) -> Iterator[Row]:
    for layer in range(depth):
        for part in ("weight", "bias"):
            yield f"style.{layer + 1}.{part}", f"mapping.fc{layer}.{part}", _SAME
    yield "input.input", "synthesis.b4.const", _LEADING
    yield from _styled("conv1", "synthesis.b4.conv1")
    yield from _styled("to_rgb1", "synthesis.b4.torgb")
    yield "noises.noise_0", "synthesis.b4.conv1.noise_const", _MAP
    for k, level in enumerate(levels[1:]):
        yield from _styled(f"to_rgbs.{k}", f"synthesis.b{level}.torgb")
        for i in range(2):
            yield from _styled(f"convs.{2 * k + i}", f"synthesis.b{level}.conv{i}")
            yield f"noises.noise_{2 * k + 1 + i}", f"synthesis.b{level}.conv{i}.noise_const", _MAP


def _discriminator_rows(levels: tuple[int, ...]) -> Iterator[Row]:
    top = levels[-1]
    yield "convs.0.0.weight", f"b{top}.fromrgb.weight", _SAME
    yield "convs.0.1.bias", f"b{top}.fromrgb.bias", _SAME
    for j, level in enumerate(reversed(levels[1:]), start=1):
        yield f"convs.{j}.conv1.0.weight", f"b{level}.conv0.weight", _SAME
        yield f"convs.{j}.conv1.1.bias", f"b{level}.conv0.bias", _SAME
        yield f"convs.{j}.conv2.1.weight", f"b{level}.conv1.weight", _SAME
        yield f"convs.{j}.conv2.2.bias", f"b{level}.conv1.bias", _SAME
        yield f"convs.{j}.skip.1.weight", f"b{level}.skip.weight", _SAME
    yield "final_conv.0.weight", "b4.conv.weight", _SAME
    yield "final_conv.1.bias", "b4.conv.bias", _SAME
    for i, name in enumerate(("fc", "out")):
        for part in ("weight", "bias"):
            yield f"final_linear.{i}.{part}", f"b4.{name}.{part}", _SAME


def read_generator(value: Any, latent_avg: Any, file_bytes: int) -> Generator:
    """Return the generator of a ``g_ema`` or ``g`` entry.

    Args:
        value: the entry, names to tensors.
        latent_avg: the mean of w; None = it is made from 10,000 latents of a fixed seed.
        file_bytes: length of the file.

    Raises: SnapshotError naming what is missing or too many.
    """
    given = _given(value, file_bytes)
    depth = sum(bool(re.fullmatch(r"style\.\d+\.weight", name)) for name in given)
    doublings = min(sum(bool(re.fullmatch(r"convs\.\d+\.conv\.weight", name)) for name in given) // 2, 12)
    tensors = _renamed(given, _generator_rows(tuple(4 << j for j in range(doublings + 1)), depth))
    shape = generator_shape(tensors)
    base, most = widths(tensors, "synthesis.", shape)
    first = tensors.get("mapping.fc0.weight")
    last = tensors.get(f"mapping.fc{depth - 1}.bias")
    if first is None or last is None or first.ndim != 2:
        raise SnapshotError("it has no mapping network (style.1.weight).")
    w_dim = last.shape[0]
    if latent_avg is not None:
        tensors["mapping.w_avg"] = to_tensors({"latent_avg": latent_avg}, file_bytes)["latent_avg"].flatten()
    else:
        tensors["mapping.w_avg"] = torch.zeros(w_dim)
    config = GeneratorConfig(
        z_dim=first.shape[1], w_dim=w_dim, shape=shape, channel_base=base, channel_max=most,
        mapping=MappingConfig(**mapping_widths(tensors, w_dim)), num_fp16_res=0,
    )  # fmt: skip
    generator = build_generator(config, tensors)
    if latent_avg is None:
        z = torch.from_numpy(np.random.RandomState(0).randn(W_AVG_SAMPLES, config.z_dim)).float()
        with torch.no_grad():
            generator.w_avg.copy_(generator.mapping(z).mean(dim=0))
    return generator


def read_discriminator(value: Any, file_bytes: int) -> Discriminator:
    """Return the discriminator of a ``d`` entry. Raises: SnapshotError naming what is missing or too many."""
    given = _given(value, file_bytes)
    doublings = min(sum(bool(re.fullmatch(r"convs\.\d+\.conv1\.0\.weight", name)) for name in given), 12)
    tensors = _renamed(given, _discriminator_rows(tuple(4 << j for j in range(doublings + 1))))
    shape = discriminator_shape(tensors)
    base, most = widths(tensors, "", shape)
    conv = tensors["b4.conv.weight"]
    config = DiscriminatorConfig(
        shape=shape, channel_base=base, channel_max=most, mbstd_num_channels=conv.shape[1] - conv.shape[0],
        num_fp16_res=0,
    )  # fmt: skip
    return build_discriminator(config, tensors)


def reasons_against(snapshot: Snapshot) -> list[str]:
    """Return why a network has no place in this format, in words; empty = it has."""
    generator, discriminator = snapshot.generator.config, snapshot.discriminator
    mapping = generator.mapping
    reasons = [
        (generator.architecture != "skip", f"its generator is '{generator.architecture}', not 'skip'"),
        (discriminator is not None and discriminator.config.architecture != "resnet", "its discriminator is no resnet"),
        (generator.c_dim != 0, "it is conditional"),
        (generator.shape.channels != 3, f"it has {generator.shape.channels} image channels, not 3"),
        (generator.shape.start_grid != (4, 4), f"it does not grow from 4×4 ({generator.shape})"),
        (generator.z_dim != generator.w_dim, f"z has {generator.z_dim} numbers and w {generator.w_dim}"),
        (mapping.hidden_dim not in (None, generator.w_dim), "the inner width of its mapping network is not w's"),
        ((mapping.activation, mapping.lr_multiplier) != ("lrelu", 0.01), "its mapping network is of another kind"),
        (not generator.use_noise, "it has no noise"),
        (not generator.demodulate, "it does not demodulate"),
        (generator.resample_filter != (1, 3, 3, 1), "its resampling filter is not 1, 3, 3, 1"),
        (
            discriminator is not None
            and (discriminator.config.mbstd_group_size, discriminator.config.mbstd_num_channels) != (4, 1),
            "its discriminator has other minibatch groups than 4, or channels than 1",
        ),
    ]
    return [reason for holds, reason in reasons if holds]


def warnings_about(snapshot: Snapshot) -> list[str]:
    """Return what a reader of the file must know, in words."""
    config = snapshot.generator.config
    told = []
    if config.conv_clamp is not None:
        told.append(f"The clamp at ±{config.conv_clamp:g} is not part of this format and is left out.")
    tables = [[num_channels(r, 16384 * m, 512) for r in config.shape.levels] for m in (1, 2)]
    ours = [config.channels_at(level) for level in config.shape.levels]
    if ours not in tables:
        table = ", ".join(f"{r}: {c}" for r, c in zip(config.shape.levels, ours, strict=True))
        told.append(
            "Its feature-map counts match none of rosinality's tables; set the table there to "
            f"{{{table}}} before loading."
        )
    return told


def to_checkpoint(snapshot: Snapshot) -> dict[str, Any]:
    """Return the checkpoint with ``g_ema``, ``latent_avg`` and, where there is a discriminator, ``d``.

    Raises: SnapshotError with every reason if the network has no place in the format.
    """
    if reasons := reasons_against(snapshot):
        raise SnapshotError(f"this network has no place in a rosinality checkpoint: {'; '.join(reasons)}.")
    generator = snapshot.generator
    levels = generator.config.shape.levels
    tensors = field_tensors(generator)
    kernel = make_filter(generator.config.resample_filter)
    g_ema = _theirs(tensors, _generator_rows(levels, generator.config.mapping.num_layers))
    for k in range(len(levels) - 1):
        g_ema[f"convs.{2 * k}.conv.blur.kernel"] = kernel * 4
        g_ema[f"to_rgbs.{k}.upsample.kernel"] = kernel * 4
    checkpoint: dict[str, Any] = {"g_ema": g_ema, "latent_avg": tensors["mapping.w_avg"]}
    if snapshot.discriminator is not None:
        d = _theirs(field_tensors(snapshot.discriminator), _discriminator_rows(levels))
        for j in range(1, len(levels)):
            d[f"convs.{j}.conv2.0.kernel"] = kernel.clone()
            d[f"convs.{j}.skip.0.kernel"] = kernel.clone()
        checkpoint["d"] = d
    return checkpoint


def looks_like_checkpoint(value: Any) -> bool:
    """Tell whether the object of a torch file is such a checkpoint."""
    return isinstance(value, dict) and any(
        isinstance(value.get(key), dict) and "input.input" in value[key] for key in ("g_ema", "g")
    )


def _given(value: Any, file_bytes: int) -> dict[str, Tensor]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise SnapshotError("one of its networks is no table of tensors.")
    return to_tensors({name: item for name, item in value.items() if not name.endswith(".kernel")}, file_bytes)


def _renamed(given: Mapping[str, Tensor], rows: Iterator[Row]) -> dict[str, Tensor]:
    left = dict(given)
    tensors, missing = {}, []
    for theirs, ours, form in rows:
        if (tensor := left.pop(theirs, None)) is None:
            missing.append(theirs)
        else:
            tensors[ours] = _without(tensor, form, theirs)
    if missing or left:
        told = [f"{name} is missing" for name in missing] + [f"{name} is not wanted" for name in sorted(left)]
        more = f" and {len(told) - 8} more" if len(told) > 8 else ""
        raise SnapshotError(f"it does not have the tensors of a StyleGAN2 network: {'; '.join(told[:8])}{more}.")
    return tensors


def _without(tensor: Tensor, form: str, name: str) -> Tensor:
    ones = {_SAME: (), _LEADING: (0,), _NUMBER: (0,), _MAP: (0, 1), _RGB: (0, 2, 3)}[form]
    if tensor.ndim < len(ones) or any(axis >= tensor.ndim or tensor.shape[axis] != 1 for axis in ones):
        raise SnapshotError(f"its tensor '{name}' has the shape {list(tensor.shape)}.")
    kept = [n for axis, n in enumerate(tensor.shape) if axis not in ones]
    return tensor.reshape(kept)


def _theirs(tensors: Mapping[str, Tensor], rows: Iterator[Row]) -> dict[str, Tensor]:
    made = {}
    for theirs, ours, form in rows:
        tensor = tensors[ours]
        shape = {
            _SAME: list(tensor.shape),
            _LEADING: [1, *tensor.shape],
            _NUMBER: [1],
            _MAP: [1, 1, *tensor.shape],
            _RGB: [1, math.prod(tensor.shape), 1, 1],
        }[form]
        made[theirs] = tensor.reshape(shape).clone()
    return made
