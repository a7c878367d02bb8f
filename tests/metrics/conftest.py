"""Small generators and archives, and a cache of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from capriccio.config import DiscriminatorConfig, GeneratorConfig, ImageShape, MappingConfig
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot
from tests.training.tiny import write_archive

SHAPE = ImageShape(channels=3, height=16, width=24)
MAPPING = MappingConfig(num_layers=2)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CAPRICCIO_CACHE", str(folder))
    return folder


def make_generator(shape: ImageShape = SHAPE, *, seed: int = 0, c_dim: int = 0) -> Generator:
    torch.manual_seed(seed)
    config = GeneratorConfig(
        z_dim=8, w_dim=8, c_dim=c_dim, shape=shape, channel_base=256, channel_max=16, mapping=MAPPING
    )
    generator = Generator(config).eval().requires_grad_(False)
    for conv in generator.synthesis.styled_convs():
        conv.noise_strength.fill_(0.2)  # so that a picture whose noise is drawn otherwise differs
    return generator


def make_discriminator(shape: ImageShape = SHAPE, *, seed: int = 1) -> Discriminator:
    torch.manual_seed(seed)
    config = DiscriminatorConfig(shape=shape, channel_base=256, channel_max=16, mapping=MAPPING)
    return Discriminator(config).eval().requires_grad_(False)


@pytest.fixture
def generator() -> Generator:
    return make_generator()


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """60 pictures of 16×24."""
    return write_archive(tmp_path_factory.mktemp("data") / "pictures.zip", SHAPE, count=60)


@pytest.fixture
def snapshot(tmp_path) -> Path:
    """A full snapshot of the tiny networks."""
    path = tmp_path / "tiny.safetensors"
    networks = Snapshot(generator=make_generator(), discriminator=make_discriminator(), facts=SnapshotFacts())
    save_snapshot(path, networks)
    return path
