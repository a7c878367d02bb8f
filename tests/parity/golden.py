"""Reading the golden fixtures: expected numbers of an independent implementation (tests/golden/README.md)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from capriccio.config import DiscriminatorConfig, GeneratorConfig, ImageShape, MappingConfig
from capriccio.interop.names import to_field_name

FOLDER = Path(os.environ.get("CAPRICCIO_GOLDEN", Path(__file__).parents[1] / "golden"))


@dataclass(frozen=True)
class Golden:
    """One fixture: a configuration and tensors by name."""

    name: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix``, by the rest of their names."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def __str__(self) -> str:
        return self.name


@cache
def all_golden() -> tuple[Golden, ...]:
    found = []
    for path in sorted(FOLDER.glob("*.safetensors")):
        with safe_open(path, "pt") as f:
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
            found.append(Golden(path.stem, json.loads(f.metadata()["config"]), tensors))
    return tuple(found)


def of_kind(kind: str) -> list[Golden]:
    """All fixtures of a kind; it is an error if there are none, for then nothing would be tested."""
    found = [g for g in all_golden() if g.config["kind"] == kind]
    if not found:
        raise FileNotFoundError(f"no golden fixture of kind '{kind}' in {FOLDER}; set CAPRICCIO_GOLDEN to their folder")
    return found


def mapping_config(config: dict[str, Any]) -> MappingConfig:
    beta = config.get("w_avg_beta")
    return MappingConfig(
        num_layers=config["map_layers"],
        hidden_dim=config["map_hidden"],
        embed_dim=config["map_embed"],
        activation=config.get("map_act", "lrelu"),
        lr_multiplier=config["map_lr_mul"],
        w_avg_beta=1.0 if beta is None else beta,
    )


def generator_config(config: dict[str, Any]) -> GeneratorConfig:
    return GeneratorConfig(
        z_dim=config["z_dim"],
        w_dim=config["w_dim"],
        c_dim=config["c_dim"],
        shape=_shape(config),
        channel_base=config["channel_base"],
        channel_max=config["channel_max"],
        architecture=config["arch"],
        mapping=mapping_config(config),
        conv_clamp=config["clamp"],
        use_noise=config["use_noise"],
        resample_filter=tuple(config["fir"]),
    )


def discriminator_config(config: dict[str, Any]) -> DiscriminatorConfig:
    return DiscriminatorConfig(
        c_dim=config["c_dim"],
        shape=_shape(config),
        channel_base=config["channel_base"],
        channel_max=config["channel_max"],
        architecture=config["arch"],
        mapping=mapping_config(config),
        cmap_dim=config["cmap_dim"],
        conv_clamp=config["clamp"],
        resample_filter=tuple(config["fir"]),
        mbstd_group_size=config["mbstd_group"],
        mbstd_num_channels=config["mbstd_channels"],
        freeze_layers=config["freeze"],
    )


def _shape(config: dict[str, Any]) -> ImageShape:
    return ImageShape(channels=config["img_channels"], height=config["resolution"], width=config["resolution"])


def fill(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy ``tensors`` (named as in the field's files) into ``module``; every tensor of both sides must be used."""
    left = {k: v for k, v in tensors.items() if not k.endswith("resample_filter")}
    for name, tensor in module.state_dict().items():
        value = left.pop(to_field_name(name))
        assert value.shape == tensor.shape, name
        tensor.copy_(value)
    assert not left, sorted(left)


def close(actual: Tensor, expected: Tensor, *, atol: float = 1e-5, rtol: float = 1e-4) -> None:
    torch.testing.assert_close(actual.detach(), expected, atol=atol, rtol=rtol)
