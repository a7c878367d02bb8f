from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import capriccio
from capriccio.cli.main import main
from capriccio.errors import SnapshotError, UsageError
from capriccio.inversion.pivotal import PivotalTuner, TuningSettings, tune
from capriccio.inversion.project import project
from capriccio.inversion.projection import ProjectionSettings
from capriccio.latent.files import load_latents
from capriccio.loading.model import Model
from capriccio.provenance import read_provenance
from capriccio.snapshots.snapshot import load_snapshot, save_snapshot
from capriccio.snapshots.tuning import Tuning, WeightChange, load_tuning, tuned_generator
from tests.loading.test_model import snapshot

QUICK = TuningSettings(num_steps=30, learning_rate=0.01)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(snapshot())


@pytest.fixture(scope="module")
def photographs(model):
    """Pictures that the network does not paint: smooth, and unlike anything of its own."""
    x = torch.linspace(-1, 1, model.size[1])[None, None].expand(model.channels, model.size[0], -1)
    return torch.stack([x, -x.transpose(1, 2).reshape(x.shape) * 0.5]).clamp(-1, 1)


@pytest.fixture(scope="module")
def projection(model, photographs):
    return project(model, photographs, ProjectionSettings(num_steps=8))


@pytest.fixture(scope="module")
def tuned(model, photographs, projection):
    return tune(model, photographs, projection, QUICK)


def test_the_tuned_network_paints_the_photographs_nearer_and_the_network_stays_as_it_is(
    model, photographs, projection, tuned
):
    hash_before = Model(snapshot()).model_hash
    assert (tuned.distances < 0.8 * tuned.distances_before).all()
    torch.testing.assert_close(tuned.distances_before, projection.distances, atol=1e-4, rtol=1e-3)
    assert model.model_hash == hash_before
    torch.testing.assert_close(tuned.model.images(projection.ws), tuned.images)


def test_what_is_stored_is_what_was_measured(model, projection, tuned, tmp_path):
    again = model.tuned(tuned.tuning.save(tmp_path / "t.safetensors"))
    assert torch.equal(again.images(projection.ws), tuned.images)
    assert again.model_hash == tuned.tuning.tuned == load_tuning(tmp_path / "t.safetensors").tuned
    assert again.tuned_from == model.model_hash


def test_locality_holds_the_network_where_it_was_around_the_pivot(model, photographs, projection, tuned):
    free = tune(model, photographs, projection, TuningSettings(num_steps=30, learning_rate=0.01, locality=0))
    firm = tune(model, photographs, projection, TuningSettings(num_steps=30, learning_rate=0.01, locality=10))
    near = projection.ws + 0.3 * (model.ws(seeds=[1, 2]) - projection.ws)
    before = model.images(near)
    moved = [float((t.model.images(near) - before).square().mean()) for t in (free, firm)]
    assert moved[1] < 0.5 * moved[0]
    assert free.distances.mean() < firm.distances.mean()


def test_it_can_be_abandoned_after_any_step_with_what_was_reached(model, photographs, projection):
    tuner = PivotalTuner(model, photographs, projection, QUICK)
    steps = tuner.steps()
    for _ in range(10):
        step = next(steps)
    assert step.num_steps == 30
    assert (tuner.result().distances < projection.distances).all()
    assert next(steps).step == 11


def test_pictures_that_share_a_tuning_are_taken_in_batches(model, photographs, projection):
    settings = TuningSettings(num_steps=20, learning_rate=0.01, batch=1)
    counts = []
    found = tune(model, photographs, projection, settings, on_step=lambda s: counts.append(s.num_steps))
    assert counts == [40] * 40
    assert (found.distances < found.distances_before).all()


def test_a_lower_rank_makes_a_smaller_file_and_all_numbers_the_exact_network(model, tuned):
    change = WeightChange(model.generator, tuned.model.generator)
    sizes = [change.tuning(rank).num_bytes for rank in (1, 2, None)]
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[2] <= 2 * sum(p.numel() for p in model.generator.synthesis.parameters())
    whole = tuned_generator(model.generator, change.tuning(None))
    for mine, theirs in zip(whole.parameters(), tuned.model.generator.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


def test_projections_into_another_network_and_odd_settings_are_refused(model, photographs, projection):
    other = Model(snapshot(channel_base=256))
    with pytest.raises(UsageError, match="project with it first"):
        tune(other, photographs, projection, QUICK)
    with pytest.raises(UsageError, match="2 pictures"):
        tune(model, photographs, project(model, photographs[:1], ProjectionSettings(num_steps=2)), QUICK)
    for changes in ({"num_steps": 0}, {"learning_rate": float("nan")}, {"locality": -1.0}):
        with pytest.raises(UsageError):
            TuningSettings(**changes)


def test_a_tuning_is_refused_by_every_other_network_in_one_line(tuned, tmp_path):
    path = tuned.tuning.save(tmp_path / "t.safetensors")
    with pytest.raises(SnapshotError, match=r"t.safetensors' belongs to the network \w+, and the model is"):
        Model(snapshot(channel_base=256)).tuned(path)


def test_damaged_tunings_are_refused_with_the_name_of_the_file(model, tuned, tmp_path):
    path = tuned.tuning.save(tmp_path / "t.safetensors")
    (tmp_path / "short.safetensors").write_bytes(path.read_bytes()[:-100])
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    save_snapshot(tmp_path / "network.safetensors", snapshot())
    for name in ("short", "other", "network", "missing"):
        with pytest.raises(SnapshotError, match=f"{name}.safetensors"):
            model.tuned(tmp_path / f"{name}.safetensors")
    name, tensor = next(iter(tuned.tuning.tensors.items()))
    spoilt = {
        "NaN": {name: torch.full_like(tensor, float("nan"))},
        "unknown": {"nowhere.whole": tensor},
        "halves": {"synthesis.blocks.4.conv1.weight.left": torch.zeros(2, 3).half()},
    }
    for what, tensors in spoilt.items():
        bad = Tuning(base=model.model_hash, tuned="", tensors=tensors).save(tmp_path / f"{what}.safetensors")
        with pytest.raises(SnapshotError, match=f"{what}.safetensors' is damaged"):
            model.tuned(bad)
    with pytest.raises(SnapshotError, match="give it with --tuning"):
        load_snapshot(path)


# ---- the commands


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A network, two pictures, projected and tuned apart and together."""
    folder = tmp_path_factory.mktemp("tuned")
    save_snapshot(folder / "m.safetensors", snapshot())
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    for how in ("each", "together"):
        assert main(projecting(folder, how)) == 0
    return folder


def projecting(folder: Path, how: str, *more: str) -> list[str]:
    return ["project", str(folder / "a.png"), str(folder / "b.png"), "-m", str(folder / "m.safetensors"),
            "--out", str(folder / how), "--steps", "3", "--tune", how, "--tune-steps", "4", *more]  # fmt: skip


def painting(files: Path, latents: str, *more: str) -> list[str]:
    return ["generate", "-m", str(files / "m.safetensors"), "--seeds", str(files / latents), "--no-grid",
            "--out", str(files / "out"), *more]  # fmt: skip


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_latents_are_painted_by_the_network_that_was_tuned_for_them(files):
    assert main(painting(files, "each/a/latents.safetensors")) == 0
    painted = pixels(files / "out/latent0000.png")
    np.testing.assert_array_equal(painted, pixels(files / "each/a/tuned.png"))
    assert main(painting(files, "each/a/latents.safetensors", "--tuning", "none")) == 0
    np.testing.assert_array_equal(pixels(files / "out/latent0000.png"), pixels(files / "each/a/reconstruction.png"))
    assert (painted != pixels(files / "each/a/reconstruction.png")).any()
    record = read_provenance(files / "each/a/tuned.png")
    assert record.tuned_from == Model(snapshot()).model_hash
    assert "tuned for a photograph" in record.sentence()


def test_pictures_tuned_together_are_mixed_and_those_tuned_apart_are_refused(files, capsys):
    def mixing(how: str, *more: str) -> list[str]:
        rows, columns = (str(files / how / name / "latents.safetensors") for name in ("a", "b"))
        return ["mix", "-m", str(files / "m.safetensors"), "--rows", rows, "--cols", columns,
                "--out", str(files / "mix.png"), *more]  # fmt: skip

    assert main(mixing("together")) == 0
    assert main(mixing("each")) == 2
    assert "--tune together" in capsys.readouterr().err
    assert main(mixing("each", "--tuning", "none")) == 0
    assert main(painting(files, "together/latents.safetensors")) == 0
    np.testing.assert_array_equal(pixels(files / "out/latent0001.png"), pixels(files / "together/b/tuned.png"))


def test_seeds_can_be_painted_by_a_tuned_network_too(files):
    tuning = str(files / "together/tuning.safetensors")
    assert main([*painting(files, "")[:3], "--seeds", "3", "--out", str(files / "plain")]) == 0
    assert main([*painting(files, "")[:3], "--seeds", "3", "--out", str(files / "changed"), "--tuning", tuning]) == 0
    assert (pixels(files / "plain/seed0003.png") != pixels(files / "changed/seed0003.png")).any()


def test_latents_whose_tuning_is_gone_say_what_to_do(files, tmp_path, capsys):
    alone = tmp_path / "alone/latents.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((files / "each/a/latents.safetensors").read_bytes())
    assert main(painting(files, str(alone))) == 2
    assert "--tuning FILE" in capsys.readouterr().err


def test_a_tuned_network_becomes_a_snapshot_that_needs_no_tuning(files, capsys):
    convert = ["convert", str(files / "m.safetensors"), str(files / "tuned.safetensors"), "--tuning"]
    assert main([*convert, str(files / "each/a/tuning.safetensors")]) == 0
    whole = capriccio.load(files / "tuned.safetensors", device="cpu")
    latents = load_latents(files / "each/a/latents.safetensors")
    assert whole.model_hash == latents.provenance.model_hash
    assert whole.facts.calibration == {}
    arguments = painting(files, "each/a/latents.safetensors")
    arguments[2] = str(files / "tuned.safetensors")
    assert main(arguments) == 0
    np.testing.assert_array_equal(pixels(files / "out/latent0000.png"), pixels(files / "each/a/tuned.png"))
    capsys.readouterr()
    assert main([*convert[:2], str(files / "m2.safetensors"), "--tuning", str(files / "m.safetensors")]) == 2
    assert "not a tuning" in capsys.readouterr().err


def test_a_folder_that_is_tuned_is_not_tuned_again_and_other_settings_tune_anew(files, capsys):
    before = (files / "each/a/tuning.safetensors").stat().st_mtime_ns
    assert main(projecting(files, "each", "--json")) == 0
    records = json.loads(capsys.readouterr().out)
    assert (files / "each/a/tuning.safetensors").stat().st_mtime_ns == before
    assert records[0]["tuning"]["distance"] < records[0]["tuning"]["distance_before"]
    assert records[0]["tuning"]["bytes"] == (files / "each/a/tuning.safetensors").stat().st_size
    assert main(projecting(files, "each", "--tune-locality", "0")) == 0
    assert (files / "each/a/tuning.safetensors").stat().st_mtime_ns > before


def test_odd_settings_of_tuning_are_said_before_the_work(files, capsys):
    assert main(projecting(files, "each", "--tune-steps", "0")) == 2
    assert "num_steps" in capsys.readouterr().err
