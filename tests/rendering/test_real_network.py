"""The promises of this room, kept by an actual network: rounding is the only thing a batch may change."""

import numpy as np
import pytest
import torch

from capriccio.config import GeneratorConfig, ImageShape, MappingConfig
from capriccio.loading.model import Model
from capriccio.networks.generator import Generator
from capriccio.provenance import read_provenance
from capriccio.rendering.generate import GenerateRequest, PictureFiles, generate, save_generated
from capriccio.rendering.look import Look
from capriccio.rendering.mix import MixRequest, mix_cells, save_mix
from capriccio.rendering.video import Film, VideoRequest, save_video
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts


def network(c_dim=0, **shape):
    torch.manual_seed(0)
    config = GeneratorConfig(
        z_dim=32, w_dim=32, c_dim=c_dim, shape=ImageShape(**shape), channel_base=512, channel_max=32,
        mapping=MappingConfig(num_layers=2),
    )  # fmt: skip
    generator = Generator(config).eval().requires_grad_(False)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.3)  # untrained strengths are 0, and noise would not be seen
    return Model(Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts(licence="for tests only")))


@pytest.fixture(scope="module")
def landscape():
    return network(height=32, width=48)


@pytest.mark.parametrize("noise_mode", ["const", "none", "random"])
def test_a_picture_is_the_same_alone_or_in_a_batch_up_to_one_grey_level(noise_mode, landscape):
    look = Look(noise_mode=noise_mode)
    batches = [list(generate(landscape, GenerateRequest(source=range(9), look=look, batch=b))) for b in (1, 4, 9)]
    for alone, *others in zip(*batches, strict=True):
        reference = np.asarray(alone.image).astype(int)
        assert reference.std() > 5
        for other in others:
            assert np.abs(np.asarray(other.image) - reference).max() <= 1
            assert other.provenance == alone.provenance


def test_noise_is_the_seeds_own(landscape):
    const, random = (
        [np.asarray(p.image) for p in generate(landscape, GenerateRequest(source=[3, 3], look=Look(noise_mode=mode)))]
        for mode in ("const", "random")
    )
    assert np.array_equal(random[0], random[1])
    assert not np.array_equal(const[0], random[0])


def test_mixing_a_picture_with_itself_changes_nothing(landscape):
    cell = next(mix_cells(landscape, MixRequest(rows=[5], columns=[5], layers="middle")))
    same = next(generate(landscape, GenerateRequest(source=[5])))
    assert np.abs(np.asarray(cell.image).astype(int) - np.asarray(same.image)).max() <= 1


def test_all_rows_from_the_column_are_the_columns_picture(landscape):
    cell = next(mix_cells(landscape, MixRequest(rows=[5], columns=[6], layers="coarse,middle,fine")))
    same = next(generate(landscape, GenerateRequest(source=[6])))
    assert np.abs(np.asarray(cell.image).astype(int) - np.asarray(same.image)).max() <= 1


def test_films_pass_through_their_keys(landscape):
    request = VideoRequest(keys=[1, 2], frames_per_second=4, seconds_per_key=1.0)
    frames = list(Film(landscape, request))
    for index, key in zip((0, 4), generate(landscape, GenerateRequest(source=[1, 2])), strict=True):
        assert np.abs(np.asarray(frames[index]).astype(int) - np.asarray(key.image)).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_job_works_for_every_channel_count(channels, tmp_path):
    model = network(channels=channels, height=16, width=24)
    files = save_generated(model, GenerateRequest(source=[1, 2]), PictureFiles(folder=tmp_path))
    files += save_mix(model, MixRequest(rows=[1], columns=[2]), tmp_path / "mix.png")
    files.append(save_video(model, VideoRequest(keys=[1, 2], seconds_per_key=0.2), tmp_path / "film.webp"))
    assert {read_provenance(file).model_hash for file in files} == {model.model_hash}


def test_classes_of_a_conditional_network_differ_and_are_recorded():
    model = network(c_dim=3, height=16, width=16)
    one, two = (next(generate(model, GenerateRequest(source=[1], look=Look(class_index=k)))) for k in (0, 2))
    assert not np.array_equal(np.asarray(one.image), np.asarray(two.image))
    assert two.provenance.class_index == 2
