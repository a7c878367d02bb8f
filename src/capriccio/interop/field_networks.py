"""Networks from tensors under the field's names, and back: what all foreign formats have in common.

Whatever program wrote a file, its tensors are first given the names of the StyleGAN2 PyTorch files
(``synthesis.b8.conv0.weight``); widths and sizes are read from them, not from what the file says about itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from capriccio.config import DiscriminatorConfig, GeneratorConfig, ImageShape
from capriccio.errors import SnapshotError
from capriccio.interop.names import to_field_name
from capriccio.interop.pickle_records import TensorRecord, tensor_of
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.ops.resample import SEPARABLE_TAPS, make_filter
from capriccio.snapshots.filling import filled

FieldTensors = Mapping[str, Tensor]

MAX_LEVELS = 13
"""Levels 4…16384."""

_SPARE_BYTES = 64 * 2**20


def to_tensors(values: Mapping[str, Any], file_bytes: int) -> dict[str, Tensor]:
    """Copy the tensors of a file.

    Raises: SnapshotError if one is no tensor, or together they are larger than the file they come from.
    """
    shared = sum(4 * _numel(value) for value in values.values())
    if shared > 2 * file_bytes + _SPARE_BYTES:  # twice: half precision unpacks to twice its size
        raise SnapshotError("its tensors are larger together than the file; they share their memory.")
    tensors = {}
    for name, value in values.items():
        tensor = tensor_of(value)
        if tensor is None:
            raise SnapshotError(f"its entry '{name}' is no tensor.")
        tensors[name] = tensor
    return tensors


def _numel(value: Any) -> int:
    if isinstance(value, TensorRecord):
        return math.prod(value.shape)
    state = getattr(value, "state", None)
    data = state[-1] if isinstance(state, tuple) and state else b""
    return len(data) if isinstance(data, (bytes, memoryview, str)) else 0


def generator_shape(tensors: FieldTensors) -> ImageShape:
    """Return the shape of the pictures of a generator, from its constant, its levels and its last toRGB."""
    const = _needed(tensors, "synthesis.b4.const", 3)
    top = _top_level(tensors, "synthesis.")
    rgb = _needed(tensors, f"synthesis.b{top}.torgb.weight", 4)
    return _shape(rgb.shape[0], const.shape[1] * top // 4, const.shape[2] * top // 4, tuple(const.shape[1:]))


def discriminator_shape(tensors: FieldTensors, start: tuple[int, int] = (4, 4)) -> ImageShape:
    """Return the shape of the pictures of a discriminator that ends in a grid ``start``."""
    top = _top_level(tensors, "")
    rgb = _needed(tensors, f"b{top}.fromrgb.weight", 4)
    return _shape(rgb.shape[1], start[0] * top // 4, start[1] * top // 4, start)


def widths(tensors: FieldTensors, prefix: str, shape: ImageShape) -> tuple[int, int]:
    """Return (channel_base, channel_max) that give the numbers of feature maps found.

    Raises: SnapshotError if they do not follow C(r) = min(base / r, max).
    """
    found = {}
    for level in shape.levels:
        if prefix:  # the generator: what its second convolution gives
            found[level] = _needed(tensors, f"{prefix}b{level}.conv1.weight", 4).shape[0]
        else:
            found[level] = _needed(tensors, f"b{level}.conv{'' if level == 4 else '0'}.weight", 4).shape[0]
    largest = max(found.values())
    lower = max(level * channels for level, channels in found.items())
    upper = min(((c + 1) * r - 1 for r, c in found.items() if c < largest), default=2**40)
    if lower > upper:
        told = ", ".join(f"{level}: {channels}" for level, channels in found.items())
        raise SnapshotError(f"its numbers of feature maps do not follow min(base / level, max): {told}.")
    usual = [base for base in (32768, 16384) if lower <= base <= upper]
    return (usual or [lower])[0], largest


def mapping_widths(tensors: FieldTensors, out_dim: int) -> dict[str, Any]:
    """Return depth, inner width and embedding width of a mapping network, as settings."""
    depth = 0
    while f"mapping.fc{depth}.weight" in tensors:
        depth += 1
    if not depth:
        raise SnapshotError("its mapping network has no layers (mapping.fc0.weight), which is not supported.")
    hidden = tensors["mapping.fc0.weight"].shape[0] if depth > 1 else out_dim
    embed = tensors.get("mapping.embed.weight")
    embed_dim = out_dim if embed is None else embed.shape[0]
    return {
        "num_layers": depth,
        "hidden_dim": None if hidden == out_dim else hidden,
        "embed_dim": None if embed_dim == out_dim else embed_dim,
    }


def filter_taps(tensors: FieldTensors) -> tuple[int, ...]:
    """Return the taps of the resampling filter that all layers share; 1, 3, 3, 1 where a file stores none.

    Raises: SnapshotError if layers differ or the taps are no small whole numbers.
    """
    filters = [tensor for name, tensor in tensors.items() if name.endswith("resample_filter")]
    if not filters:
        return (1, 3, 3, 1)
    first = filters[0].float()
    if any(f.shape != first.shape or not torch.allclose(f.float(), first, atol=1e-6) for f in filters):
        raise SnapshotError("its layers have different resampling filters, which is not supported.")
    rows = first.sum(dim=1) if first.ndim == 2 else first.flatten()
    if rows.numel() > 4 * SEPARABLE_TAPS or not bool((rows > 0).all()):
        raise SnapshotError("its resampling filter is not one of positive taps, which is not supported.")
    taps = tuple(round(float(value)) for value in rows / rows.min())
    if make_filter(taps).shape != first.shape or not torch.allclose(make_filter(taps), first, atol=1e-5):
        raise SnapshotError("its resampling filter is not made of whole taps, which is not supported.")
    return taps


def build_generator(config: GeneratorConfig, tensors: FieldTensors) -> Generator:
    """Return the generator whose tensors, under the field's names, are all of ``tensors``.

    Raises: SnapshotError listing what is missing, too many, or shaped otherwise.
    """
    return filled(Generator, config, _without_filters(tensors), to_field_name)


def build_discriminator(config: DiscriminatorConfig, tensors: FieldTensors) -> Discriminator:
    """Return the discriminator whose tensors, under the field's names, are all of ``tensors``."""
    return filled(Discriminator, config, _without_filters(tensors), to_field_name)


def _without_filters(tensors: FieldTensors) -> FieldTensors:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("resample_filter")}


def field_tensors(network: Generator | Discriminator) -> dict[str, Tensor]:
    """Return all tensors of a network under the field's names, the constant filters of its layers included."""
    tensors = {
        to_field_name(name): tensor.detach().float().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    taps = make_filter(network.config.resample_filter)
    prefix = "synthesis." if isinstance(network, Generator) else ""
    holders = {re.match(rf"({re.escape(prefix)}b\d+)\.", name) for name in tensors}
    blocks = {match[1] for match in holders if match and not (not prefix and match[1] == "b4")}
    layers = {
        name.removesuffix(".weight")
        for name, tensor in tensors.items()
        if name.endswith(".weight") and tensor.ndim == 4 and ".torgb" not in name
    }
    return tensors | {f"{name}.resample_filter": taps.clone() for name in sorted(blocks | layers)}


def _needed(tensors: FieldTensors, name: str, ndim: int) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or tensor.ndim != ndim:
        raise SnapshotError(f"it lacks the tensor '{name}' of a StyleGAN2 network, or has it in another shape.")
    return tensor


def _top_level(tensors: FieldTensors, prefix: str) -> int:
    level, count = 4, 1
    while any(name.startswith(f"{prefix}b{2 * level}.") for name in tensors) and count < MAX_LEVELS:
        level, count = 2 * level, count + 1
    return level


def _shape(channels: int, height: int, width: int, start: tuple[int, ...]) -> ImageShape:
    shape = ImageShape(channels=channels, height=height, width=width)
    if shape.start_grid != tuple(start):
        raise SnapshotError(f"it starts from a grid of {start[0]}×{start[1]} for {shape}, which is not supported.")
    return shape
