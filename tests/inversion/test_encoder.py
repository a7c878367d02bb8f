from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from capriccio.config import ImageShape
from capriccio.errors import SnapshotError, UsageError
from capriccio.inversion.encoder_training import EncoderTraining, disturbed, painted, train_encoder
from capriccio.inversion.project import Projector
from capriccio.inversion.projection import ProjectionSettings
from capriccio.inversion.w_statistics import w_statistics
from capriccio.loading.model import Model, load
from capriccio.networks.encoder import Encoder, EncoderConfig, encoder_config
from capriccio.snapshots.encoder_file import encoder_hash, load_encoder, rounded, save_encoder
from capriccio.snapshots.snapshot import Snapshot, load_snapshot, read_header, save_snapshot
from tests.loading.test_model import snapshot


def shape_of(channels: int, height: int, width: int) -> ImageShape:
    return ImageShape(channels=channels, height=height, width=width)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(snapshot())


@pytest.fixture(scope="module")
def encoder(model) -> Encoder:
    settings = EncoderTraining(num_images=800, batch=8)
    return rounded(train_encoder(model.generator, w_statistics(model.generator), settings)).requires_grad_(False)


def test_an_encoder_learns_what_made_a_picture(model, encoder):
    statistics = w_statistics(model.generator)
    images, v, _ = painted(model.generator, statistics, encoder, 128, torch.Generator().manual_seed(5))
    guess, _ = encoder(images)
    weight = encoder.curvature

    def seen(offset):
        return ((offset @ weight) * offset).sum()

    assert seen(guess - v) < 0.5 * seen(v)


def test_the_same_seed_trains_the_same_encoder(model):
    settings = EncoderTraining(num_images=64, batch=16)
    a, b = (train_encoder(model.generator, w_statistics(model.generator), settings) for _ in range(2))
    assert encoder_hash(a) == encoder_hash(b)


def test_a_snapshot_carries_its_encoder_and_keeps_its_hash(model, encoder, tmp_path):
    path = tmp_path / "with.safetensors"
    plain = snapshot()
    save_snapshot(path, replace(plain, encoder=encoder), "float16")
    again = load(path)
    assert again.model_hash == load_snapshot_hash(plain, tmp_path)
    assert again.encoder is not None
    assert encoder_hash(again.encoder) == encoder_hash(encoder)
    assert torch.equal(again.encoder.curvature, encoder.curvature)
    assert read_header(path)["format_version"] == 2


def load_snapshot_hash(plain: Snapshot, folder) -> str:
    save_snapshot(folder / "plain.safetensors", plain, "float16")
    return load(folder / "plain.safetensors").model_hash


def test_a_snapshot_without_one_is_still_read_by_older_programs(tmp_path):
    save_snapshot(tmp_path / "plain.safetensors", snapshot())
    assert read_header(tmp_path / "plain.safetensors")["format_version"] == 1
    assert load_snapshot(tmp_path / "plain.safetensors").encoder is None


def test_an_encoder_survives_a_file_of_its_own(encoder, tmp_path):
    save_encoder(tmp_path / "e.safetensors", encoder)
    assert encoder_hash(load_encoder(tmp_path / "e.safetensors")) == encoder_hash(encoder)
    (tmp_path / "e.safetensors").write_bytes(b"no encoder")
    with pytest.raises(SnapshotError, match="is no encoder"):
        load_encoder(tmp_path / "e.safetensors")


def test_projection_starts_from_the_guess(encoder):
    model = Model(snapshot())
    pictures = model.images(model.ws(seeds=[21, 22]), noise_mode="random", noise_seeds=[1, 2])
    settings = ProjectionSettings(num_steps=1, optimize_noise=True)
    without = Projector(model, settings).project(pictures)
    model.encoder = encoder
    assert (Projector(model, settings).project(pictures).distances < without.distances).all()


@pytest.mark.parametrize(
    ("shape", "num_maps", "map_channels"),
    [
        (shape_of(3, 64, 64), 9, 2), (shape_of(1, 32, 48), 7, 2), (shape_of(4, 8, 8), 3, 2),
        (shape_of(3, 4, 4), 1, 1), (shape_of(3, 256, 384), 13, 2), (shape_of(3, 16, 16), 0, 0),
    ],
)  # fmt: skip
def test_any_shape_has_an_encoder(shape, num_maps, map_channels):
    config = EncoderConfig(shape=shape, w_dim=24, num_maps=num_maps, map_channels=map_channels)
    v, maps = Encoder(config)(torch.zeros(2, shape.channels, shape.height, shape.width))
    assert v.shape == (2, 24)
    working = shape.size_at(min(16, shape.levels[-1]))
    assert (maps is None) if not map_channels else (maps.shape == (2, map_channels, *working))


def test_the_maps_that_are_guessed_are_those_of_the_working_level(model):
    config = encoder_config(model.config)
    sizes = model.generator.synthesis.noise_shapes()
    first = Encoder(config).first_map
    working = model.shape.size_at(min(16, model.shape.levels[-1]))
    assert all(size == working for size in sizes[first : first + config.map_channels])


def test_disturbed_pictures_keep_their_shape_and_some_stay_as_they_are():
    images = torch.rand(64, 3, 16, 16) * 2 - 1
    other = disturbed(images, torch.Generator().manual_seed(0))
    same = (other == images).flatten(1).all(dim=1)
    assert other.shape == images.shape
    assert 0.2 < same.float().mean() < 0.6


def test_an_encoder_needs_pictures():
    with pytest.raises(UsageError, match="got 0 in batches of 32"):
        EncoderTraining(num_images=0)
    with pytest.raises(UsageError, match="in batches of 0"):
        EncoderTraining(batch=0)
