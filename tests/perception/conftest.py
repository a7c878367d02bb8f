"""Random weights in the form of the published files, and a cache of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from capriccio.perception.squeezenet import _NUM_LAYERS, _layer
from capriccio.perception.weights import LoadedWeights


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CAPRICCIO_CACHE", str(folder))
    return folder


def randomised(network: nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return a state dict of random values that keep signals of ordinary size."""
    rng = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        noise = torch.randn(tensor.shape, generator=rng)
        if name.endswith(("running_var", "bn.weight")):
            state[name] = 1 + 0.2 * noise.clamp(-2, 2)
        elif tensor.ndim > 1:
            state[name] = noise * (2 / tensor[0].numel()) ** 0.5
        else:
            state[name] = 0.1 * noise
    return state


@pytest.fixture(scope="session")
def squeeze_weights() -> LoadedWeights:
    network = nn.Sequential(*(_layer(i) for i in range(_NUM_LAYERS)))
    return LoadedWeights({f"features.{k}": v for k, v in randomised(network).items()}, "5" * 64)


@pytest.fixture(scope="session")
def squeeze_heads() -> LoadedWeights:
    channels = (64, 128, 256, 384, 384, 512, 512)
    rng = torch.Generator().manual_seed(1)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=rng) for i, c in enumerate(channels)}
    return LoadedWeights(heads, "6" * 64)
