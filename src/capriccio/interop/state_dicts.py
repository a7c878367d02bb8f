"""Plain state dictionaries under the names of NVIDIA's PyTorch programs: tensors by network, without the classes.

A dictionary of tensors tells every size and architecture, but not all settings. Those written here carry them as JSON
under ``settings``; where a file has none, what tensors leave open is taken as NVIDIA's programs have it by default, and
told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from capriccio.config import (
    Architecture,
    DiscriminatorConfig,
    GeneratorConfig,
    ImageShape,
    MappingConfig,
    from_dict,
    to_dict,
)
from capriccio.errors import SnapshotError
from capriccio.interop.field_networks import (
    FieldTensors,
    build_discriminator,
    build_generator,
    discriminator_shape,
    field_tensors,
    filter_taps,
    generator_shape,
    mapping_widths,
    to_tensors,
    widths,
)
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot

NETWORKS = ("G_ema", "G", "D")
SETTINGS = "settings"
ASSUMED = "learning-rate multiplier 0.01 and leaky ReLU in the mapping network, no clamp, minibatch groups of 4"
"""What is assumed of a file without settings; the first is what all published networks have."""

_SIGN = "synthesis.b4.const"
"""A tensor that every such generator has."""


@dataclass(frozen=True, slots=True)
class StateDicts:
    """The networks of one file, by the names of ``NETWORKS``, and what it says about them."""

    networks: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


def nvidia_state(snapshot: Snapshot) -> dict[str, Any]:
    """Return ``G_ema`` and, where there is one, ``D`` under NVIDIA's names, and ``settings`` (JSON) to read them back.

    The tensors fit ``load_state_dict`` of a network built with the same settings; the filters of layers are among them.
    Raises: SnapshotError for a network that those programs cannot build.
    """
    if snapshot.generator.config.c_dim and snapshot.generator.config.mapping.labels == "joined":
        raise SnapshotError("its labels enter as in the program of 2019, which NVIDIA's PyTorch classes cannot.")
    state: dict[str, Any] = {"G_ema": field_tensors(snapshot.generator)}
    if snapshot.discriminator is not None:
        state["D"] = field_tensors(snapshot.discriminator)
    settings = {
        "generator": to_dict(snapshot.generator.config),
        "discriminator": None if snapshot.discriminator is None else to_dict(snapshot.discriminator.config),
        "licence": snapshot.facts.licence,
    }
    return state | {SETTINGS: json.dumps(settings, sort_keys=True)}


def state_dicts_in(content: Any) -> StateDicts | None:
    """Return the state dictionaries that the object of a file is; None if it is something else.

    Raises: SnapshotError for settings that are none.
    """
    if not isinstance(content, dict):
        return None
    if _SIGN in content:
        return StateDicts({"G_ema": content})
    if not any(isinstance(content.get(name), dict) and _SIGN in content[name] for name in ("G_ema", "G")):
        return None
    text = content.get(SETTINGS, "{}")
    try:
        settings = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise SnapshotError("its settings are no JSON.") from error
    if not isinstance(settings, dict):
        raise SnapshotError("its settings are no JSON object.")
    return StateDicts({name: content.get(name) for name in NETWORKS}, settings)


def is_state_file(path: Path) -> bool:
    """Whether a safetensors file holds a generator under NVIDIA's names; one that cannot be read does not."""
    try:
        with safe_open(path, "pt") as file:
            return any(name.endswith(_SIGN) for name in file.keys())  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError):
        return False


def safetensors_content(path: Path) -> dict[str, Any]:
    """Return what a safetensors file holds as the dictionary that :func:`state_dicts_in` takes.

    Names that begin with a network's are put into its dictionary.
    """
    content: dict[str, Any] = {}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            network, _, rest = name.partition(".")
            if network in NETWORKS:
                content.setdefault(network, {})[rest] = file.get_tensor(name)
            else:
                content[name] = file.get_tensor(name)
        metadata = file.metadata() or {}
    return content | ({SETTINGS: metadata[SETTINGS]} if SETTINGS in metadata and _SIGN not in content else {})


def read_generator(value: Any, file_bytes: int, *, settings: Any) -> Generator:
    """Return a generator. Raises: SnapshotError, ConfigError naming what is missing, too many, or not possible."""
    tensors = _tensors(value, file_bytes)
    config = _plan(tensors) if settings is None else from_dict(GeneratorConfig, settings, where="generator")
    return build_generator(config, tensors)


def read_discriminator(value: Any, file_bytes: int, shape: ImageShape, *, settings: Any) -> Discriminator:
    """Return the discriminator of pictures of ``shape``, as :func:`read_generator` does."""
    tensors = _tensors(value, file_bytes)
    if settings is None:
        return build_discriminator(_judge_plan(tensors, shape), tensors)
    return build_discriminator(from_dict(DiscriminatorConfig, settings, where="discriminator"), tensors)


def _tensors(value: Any, file_bytes: int) -> dict[str, Tensor]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise SnapshotError("one of its networks is no table of tensors.")
    return to_tensors(value, file_bytes)


def _plan(tensors: FieldTensors) -> GeneratorConfig:
    """Return the settings of a generator that says none."""
    shape = generator_shape(tensors)
    base, most = widths(tensors, "synthesis.", shape)
    w_dim = tensors["mapping.w_avg"].numel() if "mapping.w_avg" in tensors else 0
    embed, first = tensors.get("mapping.embed.weight"), tensors.get("mapping.fc0.weight")
    mapping = MappingConfig(**mapping_widths(tensors, w_dim))
    return GeneratorConfig(
        z_dim=0 if first is None else first.shape[1] - (0 if embed is None else embed.shape[0]),
        c_dim=0 if embed is None else embed.shape[1],
        w_dim=w_dim,
        shape=shape,
        channel_base=base,
        channel_max=most,
        architecture=_architecture(tensors, "synthesis.b4.torgb.weight", "synthesis.b8.skip.weight"),
        mapping=mapping,
        use_noise=any(name.endswith("noise_strength") for name in tensors),
        resample_filter=filter_taps(tensors),
    )


def _judge_plan(tensors: FieldTensors, shape: ImageShape) -> DiscriminatorConfig:
    found = discriminator_shape(tensors, shape.start_grid)
    base, most = widths(tensors, "", found)
    embed, out, conv = (tensors.get(name) for name in ("mapping.embed.weight", "b4.out.weight", "b4.conv.weight"))
    cmap_dim = None if embed is None or out is None else out.shape[0]
    return DiscriminatorConfig(
        c_dim=0 if embed is None else embed.shape[1],
        shape=found,
        channel_base=base,
        channel_max=most,
        architecture=_architecture(tensors, "b4.fromrgb.weight", "b8.skip.weight"),
        mapping=MappingConfig() if cmap_dim is None else MappingConfig(**mapping_widths(tensors, cmap_dim)),
        cmap_dim=None if cmap_dim == min(base // 4, most) else cmap_dim,
        resample_filter=filter_taps(tensors),
        mbstd_num_channels=0 if conv is None else conv.shape[1] - conv.shape[0],
    )


def _architecture(tensors: FieldTensors, sign_of_skip: str, sign_of_resnet: str) -> Architecture:
    if sign_of_resnet in tensors:
        return "resnet"
    return "skip" if sign_of_skip in tensors else "orig"
