"""Network pickles of the TensorFlow programs (StyleGAN2, StyleGAN2-ADA): three networks G, D, Gs of named arrays.

Of the first program (2019) also networks of configurations B to D, which grew, and conditional ones, whose labels enter
in a way of their own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from capriccio.config import DiscriminatorConfig, GeneratorConfig, MappingConfig
from capriccio.errors import SnapshotError
from capriccio.interop.field_networks import (
    build_discriminator,
    build_generator,
    discriminator_shape,
    generator_shape,
    mapping_widths,
    to_tensors,
    widths,
)
from capriccio.interop.pickle_reader import Record
from capriccio.interop.pickle_records import TF_NETWORK, tensor_of
from capriccio.interop.tensorflow_names import discriminator_rule, generator_rule, renamed, without_growth
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator

_MAX_VARIABLES = 5_000


_IGNORED = re.compile(r"lod|.*/lod|.*resample_filter")


def read_generator(value: Any, file_bytes: int) -> Generator:
    """Return a generator (G or Gs) of a file. Raises: SnapshotError naming what is missing or not convertible."""
    settings, variables = _network(value, file_bytes)
    variables, has_grown = _fully_grown(settings, variables)
    if has_grown and not any(name.endswith("/mod_weight") for name in variables):
        raise SnapshotError(
            "it is a network of the first StyleGAN (configuration A): its styles enter by instance normalisation, so "
            "it cannot become a StyleGAN2 network."
        )
    tensors = renamed(variables, generator_rule)
    joins_labels = "mapping/LabelConcat/weight" in variables
    if joins_labels:
        tensors["mapping.embed.bias"] = torch.zeros(_size(tensors, "mapping.embed.weight", 0))
    shape = generator_shape(tensors)
    base, most = widths(tensors, "synthesis.", shape)
    w_dim = _size(tensors, "mapping.w_avg", 0)
    embed = tensors.get("mapping.embed.weight")
    config = GeneratorConfig(
        z_dim=_size(tensors, "mapping.fc0.weight", 1) - (0 if embed is None else embed.shape[0]),
        c_dim=0 if embed is None else embed.shape[1],
        w_dim=w_dim,
        shape=shape,
        channel_base=base,
        channel_max=most,
        architecture="orig" if has_grown else _architecture(settings, "skip"),
        mapping=MappingConfig(
            **mapping_widths(tensors, w_dim),
            labels="joined" if joins_labels else "embedded",
            activation=_lrelu(settings, "mapping_nonlinearity"),
            lr_multiplier=_number(settings, "mapping_lrmul", 0.01),
            w_avg_beta=_number(settings, "dlatent_avg_beta", 0.995),
        ),
        conv_clamp=_clamp(settings),
        use_noise=any(name.endswith("noise_strength") for name in tensors),
        resample_filter=_taps(settings),
        num_fp16_res=int(_number(settings, "num_fp16_res", 0)),
    )
    _lrelu(settings, "nonlinearity")
    return build_generator(config, tensors)


def read_discriminator(value: Any, file_bytes: int) -> Discriminator:
    """Return the discriminator of a file. Raises: SnapshotError naming what is missing or not convertible."""
    settings, variables = _network(value, file_bytes)
    variables, has_grown = _fully_grown(settings, variables)
    tensors = renamed(variables, discriminator_rule)
    shape = discriminator_shape(tensors)
    base, most = widths(tensors, "", shape)
    c_dim = tensors["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in tensors else 0
    out = _size(tensors, "b4.out.weight", 0)
    mapping = MappingConfig()
    if not c_dim and out > 1:  # one logit for each label
        c_dim, mapping = out, MappingConfig(labels="joined")
    elif c_dim:
        mapping = MappingConfig(**mapping_widths(tensors, out), lr_multiplier=_number(settings, "mapping_lrmul", 0.1))
    is_old = settings["version"] < 5
    group = settings.get("mbstd_group_size", 4 if is_old else None)
    extra = _size(tensors, "b4.conv.weight", 1) - _size(tensors, "b4.conv.weight", 0)
    config = DiscriminatorConfig(
        c_dim=c_dim,
        shape=shape,
        channel_base=base,
        channel_max=most,
        architecture="orig" if has_grown else _architecture(settings, "resnet"),
        mapping=mapping,
        cmap_dim=None if "mapping.embed.weight" not in tensors or out == min(base // 4, most) else out,
        conv_clamp=_clamp(settings),
        resample_filter=_taps(settings),
        mbstd_group_size=group if type(group) is int else None,
        mbstd_num_channels=extra,
        freeze_layers=int(_number(settings, "freeze_layers", 0)),
        num_fp16_res=int(_number(settings, "num_fp16_res", 0)),
    )
    _lrelu(settings, "nonlinearity")
    return build_discriminator(config, tensors)


def _fully_grown(settings: Mapping[str, Any], variables: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Return the variables as those of a network that did not grow, and whether it did."""
    kept, has_grown = without_growth(variables)
    if has_grown and _number(settings, "lod", 0) > 0:
        raise SnapshotError(
            f"it was saved while it still grew (level of detail {settings['lod']:g}); of configurations B to D only "
            "fully grown networks are read."
        )
    return kept, has_grown


def _network(value: Any, file_bytes: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the settings and the variables, by full name, of a network and its parts."""
    variables: dict[str, Any] = {}
    state = _state(value)
    parts = {str(key)[:200]: _state(part) for key, part in _dict(state.get("components")).items()}
    count, lod = 0, 0.0
    for prefix, part in [("", state), *((f"{key}/", part) for key, part in parts.items())]:
        listed = part.get("variables")
        if not isinstance(listed, (list, tuple)) or len(listed) > _MAX_VARIABLES:
            raise SnapshotError("one of its networks has no list of variables.")
        count += len(listed)
        if count > _MAX_VARIABLES:
            raise SnapshotError("its networks have too many variables.")
        for item in listed:
            is_pair = isinstance(item, (tuple, list)) and len(item) == 2
            if not is_pair or not isinstance(item[0], str) or len(prefix) + len(item[0]) > 400:
                raise SnapshotError("one of its variables has no name.")
            if _IGNORED.fullmatch(item[0]):
                lod = max(lod, _scalar(item[1])) if item[0].endswith("lod") else lod
            else:
                variables[prefix + item[0]] = item[1]
    settings = _dict(state.get("static_kwargs")) | {"version": state.get("version"), "lod": lod}
    if type(settings["version"]) is not int:
        raise SnapshotError("one of its networks does not say its version.")
    return settings, to_tensors(variables, file_bytes)


def _state(value: Any) -> dict[str, Any]:
    if not isinstance(value, Record) or value.kind != TF_NETWORK or not isinstance(value.state, dict):
        raise SnapshotError("one of its networks is not what NVIDIA's TensorFlow programs store.")
    return value.state


def _dict(value: Any) -> dict[str, Any]:
    if len(entries := value if isinstance(value, dict) else {}) > _MAX_VARIABLES:
        raise SnapshotError("one of its networks has too many parts.")
    return entries


def _scalar(value: Any) -> float:
    tensor = tensor_of(value)
    return 0.0 if tensor is None or tensor.numel() != 1 else float(tensor)


def _size(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    if name not in tensors or tensors[name].ndim <= axis:
        raise SnapshotError(f"it lacks the tensor '{name}', or has it in another shape.")
    return tensors[name].shape[axis]


def _number(settings: Mapping[str, Any], name: str, default: float) -> float:
    value = settings.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SnapshotError(f"its setting '{name}' is no number.")
    return value


def _architecture(settings: Mapping[str, Any], default: str) -> Any:
    architecture = settings.get("architecture", default)
    if architecture not in ("skip", "resnet", "orig"):
        raise SnapshotError("its architecture is none of skip, resnet and orig.")
    return architecture


def _lrelu(settings: Mapping[str, Any], name: str) -> Any:
    if settings.get(name, "lrelu") != "lrelu":
        raise SnapshotError(f"its '{name}' is not lrelu, which is not supported.")
    return "lrelu"


def _clamp(settings: Mapping[str, Any]) -> float | None:
    return None if settings.get("conv_clamp") is None else float(_number(settings, "conv_clamp", 0))


def _taps(settings: Mapping[str, Any]) -> tuple[int, ...]:
    taps = settings.get("resample_kernel") or (1, 3, 3, 1)
    if not isinstance(taps, (tuple, list)) or len(taps) > 32 or not all(type(t) is int and t > 0 for t in taps):
        raise SnapshotError("its resampling filter is not made of whole taps, which is not supported.")
    return tuple(taps)
