"""Network pickles of the PyTorch programs (StyleGAN2-ADA and StyleGAN3 with its stylegan2 configuration).

Every layer in them is the call of one function with the source text of its class and its attributes; only the
attributes are read. Settings come from there and from the tensors' shapes, so defaults of the embedded source do not
matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from capriccio.config import DiscriminatorConfig, GeneratorConfig, MappingConfig
from capriccio.errors import SnapshotError
from capriccio.interop.field_networks import (
    build_discriminator,
    build_generator,
    discriminator_shape,
    filter_taps,
    generator_shape,
    mapping_widths,
    to_tensors,
    widths,
)
from capriccio.interop.pickle_reader import Record
from capriccio.interop.pickle_records import PERSISTENT, tensor_of
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator

MAX_DEPTH = 8
MAX_ENTRIES = 100
"""Most parts of one layer, and longest name of one; the largest has twelve."""
MAX_MODULES = 2_000
"""Layers of a network file; the largest has 200. A file can contain itself, so walking it needs an end."""


class Layer:
    """One layer of a file: its class's name, attributes, tensors and inner layers."""

    def __init__(self, value: Any) -> None:
        is_layer = isinstance(value, Record) and value.kind == PERSISTENT and value.made_from
        meta = value.made_from[0] if is_layer else None
        state = meta.get("state") if isinstance(meta, dict) else None
        if not isinstance(meta, dict) or not isinstance(state, dict):
            raise SnapshotError("one of its layers is not what NVIDIA's programs store.")
        name = meta.get("class_name")
        self.class_name = name[:100] if isinstance(name, str) else "network"
        self.state: dict[Any, Any] = state

    def get(self, name: str, default: Any = None) -> Any:
        """Return a plain attribute."""
        return self.state.get(name, default)

    def number(self, name: str, default: float | None = None) -> float:
        """Return an attribute that must be a number."""
        value = self.state.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SnapshotError(f"its {self.class_name} does not say its {name}.")
        return value

    def tensors(self) -> dict[str, Any]:
        """Return parameters and buffers that are there."""
        both = {**_entries(self.state, "_parameters"), **_entries(self.state, "_buffers")}
        return {str(name): value for name, value in both.items() if value is not None}

    def inner(self) -> dict[str, Layer]:
        """Return the layers inside."""
        modules = _entries(self.state, "_modules")
        return {str(name): Layer(value) for name, value in modules.items() if value is not None}

    def find(self, path: str) -> Layer:
        """Return the layer at a dotted path. Raises: SnapshotError if it is not there."""
        layer = self
        for name in path.split("."):
            value = _entries(layer.state, "_modules").get(name)
            if value is None:
                raise SnapshotError(f"its {self.class_name} has no layer '{path}'.")
            layer = Layer(value)
        return layer

    def walk(self) -> Iterator[tuple[str, Any]]:
        """Yield every tensor with its dotted name."""
        waiting = [("", self, 0)]
        seen = 0
        while waiting:
            prefix, layer, depth = waiting.pop()
            seen += 1
            if depth > MAX_DEPTH or seen + len(waiting) > MAX_MODULES:
                raise SnapshotError("its layers are nested without end.")
            for name, value in layer.tensors().items():
                yield prefix + name, value
            waiting += [(f"{prefix}{name}.", inner, depth + 1) for name, inner in layer.inner().items()]


def read_generator(value: Any, file_bytes: int) -> Generator:
    """Return the generator a file holds.

    Raises: SnapshotError naming what is missing or different, or the other kind of network it is.
    """
    root = Layer(value)
    refuse_other_networks(root)
    tensors = to_tensors(dict(root.walk()), file_bytes)
    shape = generator_shape(tensors)
    first, block = root.find("mapping.fc0"), root.find("synthesis.b4")
    conv = root.find("synthesis.b4.conv1")
    base, most = widths(tensors, "synthesis.", shape)
    w_dim = int(root.number("w_dim"))
    config = GeneratorConfig(
        z_dim=int(root.number("z_dim")),
        c_dim=int(root.number("c_dim", 0)),
        w_dim=w_dim,
        shape=shape,
        channel_base=base,
        channel_max=most,
        architecture=_architecture(block),
        mapping=MappingConfig(
            **mapping_widths(tensors, w_dim),
            activation=_activation(first),
            lr_multiplier=float(first.number("bias_gain", 0.01)),
            w_avg_beta=_share(root.find("mapping").get("w_avg_beta"), 0.995),
        ),
        conv_clamp=_clamp(conv),
        use_noise=bool(conv.get("use_noise", True)),
        resample_filter=filter_taps(tensors),
        num_fp16_res=_half_levels(root.find("synthesis")),
    )
    _need_leaky_relu(conv)
    return build_generator(config, tensors)


def read_discriminator(value: Any, file_bytes: int) -> Discriminator:
    """Return the discriminator a file holds. Raises: SnapshotError naming what is missing or different."""
    root = Layer(value)
    tensors = to_tensors(dict(root.walk()), file_bytes)
    shape = discriminator_shape(tensors)
    top, end = root.find(f"b{shape.levels[-1]}"), root.find("b4")
    base, most = widths(tensors, "", shape)
    c_dim = int(root.number("c_dim", 0))
    mapping = MappingConfig()
    cmap_dim = None
    if c_dim:
        cmap_dim = int(end.number("cmap_dim"))
        first = root.find("mapping.fc0") if "mapping.fc0.weight" in tensors else None
        mapping = MappingConfig(
            **mapping_widths(tensors, cmap_dim),
            activation="lrelu" if first is None else _activation(first),
            lr_multiplier=0.01 if first is None else float(first.number("bias_gain", 0.01)),
        )
    inside = end.inner()
    mbstd = inside.get("mbstd")
    conv = top.find("conv0")
    group = None if mbstd is None else mbstd.get("group_size")
    _need_leaky_relu(conv)
    config = DiscriminatorConfig(
        c_dim=c_dim,
        shape=shape,
        channel_base=base,
        channel_max=most,
        architecture=_architecture(top),
        mapping=mapping,
        cmap_dim=None if cmap_dim == min(base // 4, most) else cmap_dim,
        conv_clamp=_clamp(conv),
        resample_filter=filter_taps(tensors),
        mbstd_group_size=None if mbstd is None or group is None else int(mbstd.number("group_size")),
        mbstd_num_channels=0 if mbstd is None else int(mbstd.number("num_channels", 1)),
        freeze_layers=_frozen(root, shape.levels),
        num_fp16_res=_half_levels(root),
    )
    return build_discriminator(config, tensors)


def augment_p(value: Any) -> float:
    """Return the strength of augmentation a file ends with; 0 where it has none."""
    if value is None:
        return 0.0
    p: Tensor | None = tensor_of(Layer(value).tensors().get("p"))
    return 0.0 if p is None or p.numel() != 1 else min(max(float(p), 0.0), 1.0)


def refuse_other_networks(root: Layer) -> None:
    """Refuse the networks that look alike from outside, by name. Raises: SnapshotError."""
    inner = root.inner()
    synthesis = _entries(inner["synthesis"].state, "_modules") if "synthesis" in inner else {}
    if root.class_name == "SuperresGenerator" or (root.class_name == "Generator" and "embed_proj" in _names(inner)):
        raise SnapshotError(
            "it is a StyleGAN-XL network: its layers are those of StyleGAN3 with others on top. Capriccio paints "
            "StyleGAN2 networks; the program that trained it reads this file."
        )
    if "input" in synthesis and "b4" not in synthesis:
        raise SnapshotError(
            "it is a StyleGAN3 network (configuration T or R, alias-free): it has no layers at fixed resolutions and "
            "no noise, so it cannot become a StyleGAN2 network. Of that program, configuration stylegan2 is read."
        )


def _names(inner: dict[str, Layer]) -> set[str]:
    mapping = inner.get("mapping")
    return set() if mapping is None else {str(name) for name in _entries(mapping.state, "_modules")}


def _entries(state: dict[Any, Any], name: str) -> dict[Any, Any]:
    entries = state.get(name)
    if not isinstance(entries, dict):
        return {}
    if len(entries) > MAX_ENTRIES or any(len(str(key)) > MAX_ENTRIES for key in entries):
        raise SnapshotError("one of its layers has far too many parts, or names far too long.")
    return entries


def _architecture(layer: Layer) -> Any:
    architecture = layer.get("architecture")
    if architecture not in ("skip", "resnet", "orig"):
        raise SnapshotError("its architecture is none of skip, resnet and orig.")
    return architecture


def _activation(layer: Layer) -> Any:
    activation = layer.get("activation", "lrelu")
    if activation not in ("linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"):
        raise SnapshotError("its mapping network has an activation that StyleGAN2 does not have.")
    return activation


def _need_leaky_relu(layer: Layer) -> None:
    if layer.get("activation", "lrelu") != "lrelu":
        raise SnapshotError("its convolutions have another activation than leaky ReLU, which is not supported.")


def _clamp(layer: Layer) -> float | None:
    return None if layer.get("conv_clamp") is None else float(layer.number("conv_clamp"))


def _share(value: Any, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= 1 else default


def _half_levels(network: Layer) -> int:
    return sum(layer.get("use_fp16") is True for layer in network.inner().values())


def _frozen(root: Layer, levels: tuple[int, ...]) -> int:
    """Count the layers whose weights are buffers, from the picture on."""
    count = 0
    for level in reversed(levels[1:]):
        block = root.find(f"b{level}").inner()
        for name in ("fromrgb", "conv0", "conv1", "skip"):
            if name in block:
                if "weight" not in _entries(block[name].state, "_buffers"):
                    return count
                count += 1
    return count
