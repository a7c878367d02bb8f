from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import capriccio
from capriccio.errors import ShapeError, SnapshotError, UsageError
from capriccio.loading.model import Model, find_snapshot
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot
from tests.networks.conftest import discriminator_config, generator_config


def snapshot(*, slim=False, **changes) -> Snapshot:
    torch.manual_seed(0)
    generator = Generator(generator_config(**changes))
    for conv in generator.synthesis.styled_convs():
        conv.noise_strength.data.fill_(0.5)
    c_dim = changes.get("c_dim", 0)
    discriminator = None if slim else Discriminator(discriminator_config(c_dim=c_dim))
    return Snapshot(generator=generator, discriminator=discriminator, facts=SnapshotFacts(nimg=1234))


@pytest.fixture
def model() -> Model:
    return Model(snapshot())


def test_a_seed_is_the_latent_of_the_field(model):
    z = model.z([7, 0])
    np.testing.assert_array_equal(z[0], np.random.RandomState(7).randn(1, 8)[0].astype(np.float32))
    assert z.shape == (2, 8)


def test_an_image_depends_on_its_seed_never_on_its_batch(model):
    together = model.images(model.ws(seeds=[1, 2, 3]), noise_mode="random", noise_seeds=[4, 5, 6])
    alone = model.images(model.ws(seeds=[2]), noise_mode="random", noise_seeds=[5])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


def test_truncation_moves_the_coarse_rows_towards_the_mean(model):
    full, half = model.ws(seeds=[3]), model.ws(seeds=[3], truncation_psi=0.5, truncation_cutoff=2)
    torch.testing.assert_close(half[:, :2] - model.w_avg, 0.5 * (full[:, :2] - model.w_avg))
    assert torch.equal(half[:, 2:], full[:, 2:])


def test_a_logit_depends_on_its_image_alone(model):
    images = model.images(model.ws(seeds=[1, 2, 3]))
    torch.testing.assert_close(model.logits(images)[1:2], model.logits(images[1:2]), atol=1e-4, rtol=1e-4)


def test_loading_finds_files_run_folders_and_names(tmp_path):
    (tmp_path / "snapshots").mkdir()
    for kimg in (2, 10):
        save_snapshot(tmp_path / "snapshots" / f"snapshot-{kimg:06d}.safetensors", snapshot())
    assert find_snapshot(tmp_path).name == "snapshot-000010.safetensors"
    loaded = capriccio.load(tmp_path, device="cpu")
    assert loaded.model_hash == Model(snapshot()).model_hash
    assert loaded.card["nimg"] == 1234
    with pytest.raises(SnapshotError, match=r"is not a bundled model|comes without a bundled model"):
        capriccio.load("seascapes-4096")
    with pytest.raises(SnapshotError, match="does not exist"):
        capriccio.load(tmp_path / "nothing.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SnapshotError, match="no snapshot yet"):
        capriccio.load(tmp_path / "empty")


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda m: m.z([-1]), UsageError, r"0\.\.4294967295, got -1"),
        (lambda m: m.z(3), UsageError, r"such as \[3\] or range\(8\), got 3"),
        (lambda m: m.ws(seeds="0-3"), UsageError, "several whole numbers"),
        (lambda m: m.ws(seeds=[1.5]), UsageError, "whole numbers in .* got 1.5"),
        (lambda m: m.ws(seeds=[1], truncation_psi=float("nan")), UsageError, "psi must lie in"),
        (lambda m: m.images("latents"), ShapeError, "ws must be a tensor, got str"),
        (lambda m: m.ws(), UsageError, "either z or seeds"),
        (lambda m: m.ws(z=torch.zeros(1, 5)), ShapeError, r"\[N, 8\].*got \[1, 5\]"),
        (lambda m: m.ws(seeds=[0], truncation_psi=0.5, truncation_cutoff=9), UsageError, r"0\.\.6.*got 9"),
        (lambda m: m.images(torch.zeros(1, 6, 5)), ShapeError, r"\[N, 6, 6\].*got \[1, 6, 5\]"),
        (lambda m: m.images(m.ws(seeds=[0]), noise_mode="random"), UsageError, "one noise seed per image: 1"),
        (lambda m: m.images(m.ws(seeds=[0]), noise_mode="loud"), UsageError, "none of const, none, random"),
        (lambda m: m.images(m.ws(seeds=[0]), noise_seeds=[1]), UsageError, "no effect"),
        (lambda m: m.label(0), UsageError, "class: this model has no classes"),
        (lambda m: m.logits(torch.zeros(1, 1, 16, 16)), ShapeError, r"\[N, 3, 16, 16\]"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(model, ask, error, words):
    with pytest.raises(error, match=words):
        ask(model)


def test_arrays_are_taken_like_tensors_and_nothing_gives_nothing(model):
    ws = model.ws(model.z(np.arange(2)).cpu().numpy())
    assert torch.equal(ws, model.ws(seeds=range(2)))
    assert torch.equal(model.images(ws.cpu().numpy()), model.images(ws))
    assert torch.equal(model.ws(seeds=torch.arange(2)), ws)
    assert model.images(model.ws(seeds=[])).shape == (0, model.channels, *model.size)


def test_a_conditional_model_wants_a_class():
    model = Model(snapshot(c_dim=3))
    with pytest.raises(UsageError, match=r"give a class 0\.\.2"):
        model.ws(seeds=[0])
    with pytest.raises(UsageError, match=r"class must lie in 0\.\.2 for this model, got 3"):
        model.label(3)
    assert model.images(model.ws(seeds=[0], c=model.label(1))).shape == (1, 3, 16, 16)


def test_a_card_cannot_claim_another_hash_or_licence():
    whole = snapshot()
    claims = {"title": "Fells", "model_hash": "another", "licence": "none"}
    card = Model(replace(whole, facts=replace(whole.facts, card=claims, licence="CC0-1.0"))).card
    assert (card["title"], card["licence"], card["model_hash"]) == ("Fells", "CC0-1.0", Model(whole).model_hash)


def test_classes_go_by_number_or_name():
    whole = snapshot(c_dim=3)
    model = Model(replace(whole, facts=replace(whole.facts, data={"class_names": ["fell", "fjord", "10"]})))
    assert model.class_names == ("fell", "fjord", "10")
    assert [model.class_index(chosen) for chosen in ("fjord", "0", 2)] == [1, 0, 2]
    assert torch.equal(model.label("fell", 2), torch.eye(3)[[0, 0]])
    with pytest.raises(UsageError, match=r"'fjorde' is none of this model\. Did you mean 'fjord'\? There are: fell, "):
        model.class_index("fjorde")
    with pytest.raises(UsageError, match=r"class must lie in 0\.\.2 for this model, got 10"):
        model.class_index("10")
    with pytest.raises(UsageError, match=r"'fell' is none of this model\. There are: 0\.\.2"):
        Model(whole).class_index("fell")
    vectors = Model(replace(whole, facts=replace(whole.facts, data={"vector_labels": True})))
    with pytest.raises(UsageError, match="3 numbers, no classes; from Python"):
        vectors.class_index(0)


def test_labels_follow_the_images_to_the_device():
    model = Model(snapshot(c_dim=3))
    model.discriminator.to("meta")
    model.device = torch.device("meta")
    assert model.logits(torch.zeros(2, 3, 16, 16), torch.eye(3)[:2]).device.type == "meta"


def test_a_slim_snapshot_has_no_logits():
    with pytest.raises(SnapshotError, match="no discriminator"):
        Model(snapshot(slim=True)).logits(torch.zeros(1, 3, 16, 16))
