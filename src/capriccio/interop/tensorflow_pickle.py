"""Network pickles of the TensorFlow programs (StyleGAN2, StyleGAN2-ADA): three networks G, D, Gs of named arrays.

Kernels are [kh, kw, in, out] there, style biases lack the 1 that is added when they are used, and the kernels of
up-sampling convolutions are stored unflipped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

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
from capriccio.interop.pickle_records import TF_NETWORK
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator

_MAX_VARIABLES = 5_000
_LAYER_NAMES = {"Const": "", "Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}
_D_LAYER_NAMES = {"FromRGB": "fromrgb", "Conv0": "conv0", "Conv1_down": "conv1", "Skip": "skip", "Conv": "conv",
                  "Dense0": "fc"}  # fmt: skip
_Rule = tuple[str, Callable[[Tensor], Tensor]]


def _same(t: Tensor) -> Tensor:
    return t


def _transposed(t: Tensor) -> Tensor:
    return t.t()


def _kernel(t: Tensor) -> Tensor:
    return t.permute(3, 2, 0, 1)


def _flipped_kernel(t: Tensor) -> Tensor:
    return t.flip(0, 1).permute(3, 2, 0, 1)


def _plus_one(t: Tensor) -> Tensor:
    return t + 1


def _first(t: Tensor) -> Tensor:
    return t[0]


def _map(t: Tensor) -> Tensor:
    return t[0, 0]


_PARTS: dict[str, _Rule] = {
    "bias": ("bias", _same),
    "noise_strength": ("noise_strength", _same),
    "mod_weight": ("affine.weight", _transposed),
    "mod_bias": ("affine.bias", _plus_one),
}


def _generator_rule(name: str) -> _Rule | None:
    """Return the field's name of a variable, and what to do with it; None = not part of the network."""
    if name == "dlatent_avg":
        return "mapping.w_avg", _same
    if match := re.fullmatch(r"mapping/(LabelEmbed|Dense(\d+))/(weight|bias)", name):
        layer = "embed" if match[2] is None else f"fc{int(match[2])}"
        return f"mapping.{layer}.{match[3]}", _transposed if match[3] == "weight" else _same
    if match := re.fullmatch(r"synthesis/noise(\d{1,3})", name):
        index = int(match[1])
        level, conv = (4, 1) if index == 0 else (2 ** ((index + 1) // 2 + 2), (index + 1) % 2)
        return f"synthesis.b{level}.conv{conv}.noise_const", _map
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", _first
    if match := re.fullmatch(r"synthesis/(\d+)x\1/(Conv|Conv0_up|Conv1|ToRGB|Skip)/(\w+)", name):
        layer = f"synthesis.b{match[1]}.{_LAYER_NAMES[match[2]]}"
        if match[3] == "weight":
            return f"{layer}.weight", _flipped_kernel if match[2] in ("Conv0_up", "Skip") else _kernel
        if match[3] in _PARTS:
            part, change = _PARTS[match[3]]
            return f"{layer}.{part}", change
    return None


def _discriminator_rule(name: str) -> _Rule | None:
    if match := re.fullmatch(r"(LabelEmbed|Mapping(\d+)|Output)/(weight|bias)", name):
        layer = "b4.out" if match[1] == "Output" else "mapping.embed"
        layer = layer if match[2] is None else f"mapping.fc{int(match[2])}"
        return f"{layer}.{match[3]}", _transposed if match[3] == "weight" else _same
    if match := re.fullmatch(r"(\d+)x\1/(FromRGB|Conv0|Conv1_down|Skip|Conv|Dense0)/(weight|bias)", name):
        is_dense = match[2] == "Dense0"
        change = _same if match[3] == "bias" else (_transposed if is_dense else _kernel)
        return f"b{match[1]}.{_D_LAYER_NAMES[match[2]]}.{match[3]}", change
    return None


_IGNORED = re.compile(r"lod|.*/lod|.*resample_filter")


def read_generator(value: Any, file_bytes: int) -> Generator:
    """Return a generator (G or Gs) of a file. Raises: SnapshotError naming what is missing or not convertible."""
    settings, variables = _network(value, file_bytes)
    _refuse_other_networks(variables)
    tensors = _renamed(variables, _generator_rule)
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
        architecture=_architecture(settings, "skip"),
        mapping=MappingConfig(
            **mapping_widths(tensors, w_dim),
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
    _refuse_other_networks(variables)
    tensors = _renamed(variables, _discriminator_rule)
    shape = discriminator_shape(tensors)
    base, most = widths(tensors, "", shape)
    c_dim = tensors["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in tensors else 0
    out = _size(tensors, "b4.out.weight", 0)
    if not c_dim and out != 1:
        raise SnapshotError(_OLD_LABELS)
    mapping = MappingConfig()
    if c_dim:
        mapping = MappingConfig(
            **mapping_widths(tensors, out), lr_multiplier=_number(settings, "mapping_lrmul", 0.1)
        )
    is_old = settings["version"] < 5
    group = settings.get("mbstd_group_size", 4 if is_old else None)
    extra = _size(tensors, "b4.conv.weight", 1) - _size(tensors, "b4.conv.weight", 0)
    config = DiscriminatorConfig(
        c_dim=c_dim,
        shape=shape,
        channel_base=base,
        channel_max=most,
        architecture=_architecture(settings, "resnet"),
        mapping=mapping,
        cmap_dim=None if not c_dim or out == min(base // 4, most) else out,
        conv_clamp=_clamp(settings),
        resample_filter=_taps(settings),
        mbstd_group_size=group if type(group) is int else None,
        mbstd_num_channels=extra,
        freeze_layers=int(_number(settings, "freeze_layers", 0)),
        num_fp16_res=int(_number(settings, "num_fp16_res", 0)),
    )
    _lrelu(settings, "nonlinearity")
    return build_discriminator(config, tensors)


_OLD_LABELS = (
    "it is a conditional network of the first StyleGAN2 program (2019): labels enter it in a way that no later program "
    "has (LabelConcat), so it cannot be converted."
)


def _refuse_other_networks(variables: Mapping[str, Tensor]) -> None:
    if any("LabelConcat" in name for name in variables):
        raise SnapshotError(_OLD_LABELS)
    if any("ToRGB_lod" in name or "FromRGB_lod" in name for name in variables):
        raise SnapshotError(
            "it is a network of configuration A to D (progressive growing, as in the first StyleGAN); networks of "
            "configurations E and F are converted."
        )


def _network(value: Any, file_bytes: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the settings and the variables, by full name, of a network and its parts."""
    variables: dict[str, Any] = {}
    state = _state(value)
    parts = {str(key)[:200]: _state(part) for key, part in _dict(state.get("components")).items()}
    count = 0
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
            if not _IGNORED.fullmatch(item[0]):
                variables[prefix + item[0]] = item[1]
    settings = _dict(state.get("static_kwargs")) | {"version": state.get("version")}
    if type(settings["version"]) is not int:
        raise SnapshotError("one of its networks does not say its version.")
    return settings, to_tensors(variables, file_bytes)


def _renamed(variables: Mapping[str, Tensor], rule: Callable[[str], _Rule | None]) -> dict[str, Tensor]:
    tensors = {}
    for name, value in variables.items():
        found = rule(name)
        if found is None:
            raise SnapshotError(f"it has a variable that StyleGAN2 does not have: '{name[:100]}'.")
        try:
            tensors[found[0]] = found[1](value)
        except (RuntimeError, IndexError) as error:
            raise SnapshotError(f"its variable '{name[:100]}' has the shape {list(value.shape)}.") from error
    return tensors


def _state(value: Any) -> dict[str, Any]:
    if not isinstance(value, Record) or value.kind != TF_NETWORK or not isinstance(value.state, dict):
        raise SnapshotError("one of its networks is not what NVIDIA's TensorFlow programs store.")
    return value.state


def _dict(value: Any) -> dict[str, Any]:
    if len(entries := value if isinstance(value, dict) else {}) > _MAX_VARIABLES:
        raise SnapshotError("one of its networks has too many parts.")
    return entries


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
