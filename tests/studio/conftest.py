"""A tiny network behind the application, without a socket."""

from __future__ import annotations

import pytest
import torch

from capriccio.config import DiscriminatorConfig, GeneratorConfig, ImageShape, MappingConfig
from capriccio.loading.model import Model
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts

pytest.importorskip("fastapi", reason="the extra 'web' is not installed")

from fastapi.testclient import TestClient

from capriccio.studio.app import create_app
from capriccio.studio.settings import StudioSettings


def tiny_model(c_dim=0, channels=3, seed=0):
    torch.manual_seed(seed)
    config = GeneratorConfig(
        shape=ImageShape(channels=channels, height=16, width=16), z_dim=16, w_dim=16, c_dim=c_dim,
        channel_base=128, channel_max=16, mapping=MappingConfig(num_layers=2),
    )  # fmt: skip
    facts = SnapshotFacts(nimg=1000, licence="CC0-1.0")
    return Model(Snapshot(generator=Generator(config), discriminator=None, facts=facts))


def with_discriminator(model):
    torch.manual_seed(1)
    config = DiscriminatorConfig(shape=model.shape, channel_base=128, channel_max=16)
    model.discriminator = Discriminator(config).eval().requires_grad_(False)
    return model


@pytest.fixture(scope="session")
def model():
    return tiny_model()


@pytest.fixture
def serve(model):
    """Return a function that starts the application with settings and returns its client."""
    clients = []

    def started(network=None, **settings):
        settings = {"pool": 4, "access_log": False, **settings}
        app = create_app(network or model, name="tiny", settings=StudioSettings(**settings))
        client = TestClient(app, raise_server_exceptions=False)
        clients.append(client)
        client.__enter__()
        return client

    yield started
    for client in clients:
        client.__exit__(None, None, None)
