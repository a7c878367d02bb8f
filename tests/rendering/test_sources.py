import warnings
from pathlib import Path

import pytest
import torch

from capriccio.errors import CapriccioWarning, UsageError
from capriccio.latent.files import Latents, save_latents
from capriccio.provenance import Provenance
from capriccio.rendering.look import Look
from capriccio.rendering.sources import open_source, parse_source, provenance_of


def test_a_file_is_told_from_seeds_by_its_ending():
    assert parse_source("out/w.NPZ") == Path("out/w.NPZ")
    assert parse_source("w.safetensors") == Path("w.safetensors")
    assert parse_source("1-3,9") == [1, 2, 3, 9]


def test_stored_latents_come_back_as_they_are_and_carry_their_names(model, tmp_path):
    stored = Latents(ws=torch.randn(2, model.num_ws, model.w_dim), names=("a.jpg", "b.jpg"))
    for source in (stored, save_latents(tmp_path / "w.npz", stored)):
        opened = open_source(model, source, Look(truncation_psi=0.0))
        assert torch.equal(opened.ws(0, 2), stored.ws)
        assert [opened.label(i) for i in range(2)] == ["a.jpg", "b.jpg"]
        record = provenance_of(model, Look(truncation_psi=0.0), opened, 1, 2)
        assert record.latents == ("b.jpg",)
        assert record.truncation_psi is None


def test_latents_of_another_network_are_warned_of(model, tmp_path):
    def found_for(model_hash, tuned_from=None):
        record = Provenance(model_hash=model_hash, licence="", kind="projection", tuned_from=tuned_from)
        return Latents(ws=torch.zeros(1, model.num_ws, model.w_dim), provenance=record)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for own in (found_for(model.model_hash), found_for("tuned", tuned_from=model.model_hash)):
            open_source(model, own, Look())
    with pytest.warns(CapriccioWarning, match=f"another network .stranger, this one is {model.model_hash}"):
        open_source(model, save_latents(tmp_path / "w.npz", found_for("stranger")), Look())


def test_seeds_follow_psi_cutoff_and_class(painted):
    model = painted(c_dim=3)
    opened = open_source(model, [5], Look(truncation_psi=0.5, truncation_cutoff=2, class_index=1))
    expected = model.ws(seeds=[5], c=model.label(1, 1), truncation_psi=0.5, truncation_cutoff=2)
    assert torch.equal(opened.ws(0, 1), expected)


@pytest.mark.parametrize(
    ("source", "look", "says"),
    [
        ([], Look(), "No seed was given"),
        ([-1], Look(), "Seed -1 is out of range"),
        ([2**32], Look(), "out of range"),
        ([1], Look(class_index=0), "has no classes"),
        ([1], Look(truncation_cutoff=9), r"cutoff must lie in 0\.\.8"),
        (Path("missing.npz"), Look(), r"missing\.npz: there is no such"),
        (Latents(ws=torch.zeros(1, 8, 4)), Look(), "Use the model they were made with"),
    ],
)
def test_a_source_that_does_not_fit_the_model_is_refused(source, look, says, model):
    with pytest.raises(UsageError, match=says):
        open_source(model, source, look)


def test_a_conditional_model_asks_for_a_class_and_says_which_there_are(painted):
    with pytest.raises(UsageError, match=r"choose one of 0\.\.2"):
        open_source(painted(c_dim=3), [1], Look())
    with pytest.raises(UsageError, match=r"class must lie in 0\.\.2"):
        open_source(painted(c_dim=3), [1], Look(class_index=3))


@pytest.mark.parametrize("wrong", [{"noise_mode": "loud"}, {"truncation_psi": float("nan")}, {"truncation_psi": 1e9}])
def test_a_look_out_of_range_is_refused(wrong):
    with pytest.raises(UsageError, match="must"):
        Look(**wrong)
