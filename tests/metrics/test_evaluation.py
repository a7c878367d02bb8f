"""From names to numbers: protocol, repeats, caches, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import capriccio
from capriccio.config import ImageShape
from capriccio.errors import DatasetError, JobError, ShapeError, SnapshotError, UsageError
from capriccio.latent.random_labels import NoLabels
from capriccio.loading.model import load
from capriccio.metrics import collect as collect_module
from capriccio.metrics.evaluation import Evaluator, evaluate
from capriccio.metrics.names import parse_metrics
from capriccio.metrics.pictures import BLOCK, Fakes, Reals, open_reals
from capriccio.metrics.results import read_evaluation
from capriccio.metrics.settings import Settings
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot
from tests.metrics.conftest import SHAPE, make_discriminator, make_generator
from tests.training.tiny import write_archive

ROOT = Path(__file__).parents[2]
SETS = "fd_random100_full,kd_random100_full,pr_random100_k3_full,dc_random100_k5"


def fakes(generator, **changes) -> Fakes:
    chosen = Fakes(
        generator=generator, name="tiny", labels=NoLabels(), count=100, seed=0, psi=1.0, batch=16,
        device=torch.device("cpu"),
    )  # fmt: skip
    return replace(chosen, **changes)


def evaluator(metrics: str, data=None, **changes) -> Evaluator:
    return Evaluator(parse_metrics(metrics), changes.pop("shape", SHAPE), data=data, **changes)


# ---- samples


def test_a_sample_depends_on_its_seed_and_place_not_on_batch_or_count(generator):
    whole = torch.cat([fakes(generator).block(i) for i in range(2)])
    assert whole.shape == (100, 3, 16, 24)
    others = torch.cat([fakes(generator, batch=7, count=70).block(i) for i in range(2)])
    # Rounding of a float near the edge between two bytes may fall either way.
    assert (whole[:70].int() - others.int()).abs().max() <= 1
    assert not torch.equal(whole[:BLOCK], fakes(generator, seed=1).block(0))


def test_truncation_draws_samples_together(generator):
    full, near = (fakes(generator, psi=psi).block(0).float() for psi in (1.0, 0.1))
    assert near.std(dim=0).mean() < full.std(dim=0).mean()


def test_labels_of_samples_are_those_of_the_data_set(tmp_path):
    path = write_archive(tmp_path / "labelled.zip", SHAPE, count=30, num_classes=3)
    result = evaluator("fd_random70_full", path, c_dim=3).measure(make_generator(c_dim=3))
    assert result.results[0].card.labels == "of random pictures of the data set"
    with pytest.raises(ShapeError, match="labels of size 3, the model was trained with size 4"):
        evaluator("fd_random70_full", path, c_dim=4)


# ---- real pictures


def test_full_means_all_pictures_and_none_mirrored(archive):
    measured = evaluator("fd_random50,fd_random50_full,fd_random500", archive, settings=Settings(mirror=True))
    cards = [r.card for r in measured.measure(make_generator()).results]
    assert [(c.reals, c.mirror) for c in cards] == [(50, True), (60, False), (120, True)]


def test_a_resize_filter_changes_the_number_and_the_card(tmp_path):
    large = write_archive(tmp_path / "large.zip", ImageShape(channels=3, height=32, width=48), count=40)
    results = [
        evaluator("fd_random70_full", large, settings=Settings(resize_filter=f)).measure(make_generator()).results[0]
        for f in ("lanczos", "box")
    ]
    assert [r.card.resize_filter for r in results] == ["lanczos", "box"]
    assert results[0].values != results[1].values
    assert results[0].card.differences(results[1].card) == ["resize_filter: lanczos and box"]


def test_pictures_stored_at_the_size_are_not_resized(archive):
    assert open_reals(archive, SHAPE, resize_filter="box").filter_used == "none"


def test_features_of_real_pictures_are_kept_and_found_again(archive, generator, monkeypatch):
    first = evaluator(SETS, archive).measure(generator)
    looked_at: list[object] = []
    original = collect_module.collect

    def counting(pictures, *rest):
        looked_at.append(pictures)
        return original(pictures, *rest)

    monkeypatch.setattr(collect_module, "collect", counting)
    again = evaluator(SETS, archive).measure(generator)
    assert not [p for p in looked_at if isinstance(p, Reals)]
    assert again.values == first.values


def test_a_cache_of_another_protocol_is_never_used(archive, generator, cache):
    expected = evaluator("fd_random100_full", archive).measure(generator).values
    other = evaluator("fd_random100_full", archive, settings=Settings(resize_filter="lanczos"), shape=SHAPE)
    [kept] = (cache / "features").glob("*.safetensors")
    data = kept.read_bytes()
    assert b"random-4" in data
    kept.write_bytes(data.replace(b"random-4", b"random-3"))  # right name, other protocol inside
    assert other.measure(generator).values == expected
    assert b"random-4" in kept.read_bytes()  # made anew
    kept.write_bytes(data[: len(data) // 2])
    assert evaluator("fd_random100_full", archive).measure(generator).values == expected


# ---- numbers and cards


def test_every_kind_gives_its_numbers(archive, generator):
    evaluation = evaluator(SETS, archive).measure(generator, name="tiny", model_hash="abc")
    assert set(evaluation.values) == {
        "fd_random100_full", "kd_random100_full", "kd_random100_full_std", "pr_random100_k3_full_precision",
        "pr_random100_k3_full_recall", "dc_random100_k5_density", "dc_random100_k5_coverage",
    }  # fmt: skip
    assert all(np.isfinite(value) for value in evaluation.values.values())
    assert all(r.caveat == "not comparable with the literature" for r in evaluation.results)
    assert evaluation["fd_random100_full"] > 0


def test_repeats_give_mean_and_spread_over_seeds(archive, generator):
    both = evaluator("fd_random70_full", archive, settings=Settings(seed=5, repeats=2)).measure(generator).results[0]
    single = [
        evaluator("fd_random70_full", archive, settings=Settings(seed=s)).measure(generator)["fd_random70_full"]
        for s in (5, 6)
    ]
    assert both.values["fd_random70_full"] == pytest.approx(np.mean(single))
    assert both.spread["fd_random70_full"] == pytest.approx(np.std(single, ddof=1))
    assert both.card.repeats == 2
    assert both.card.seed == 5


def test_few_pictures_for_many_features_are_pointed_out(archive, generator):
    note = evaluator("fd_random100_full", archive).measure(generator).results[0].note
    assert note == "60 pictures for 480 features: the value depends strongly on the count"


def test_a_closer_set_has_the_smaller_distance(archive):
    one, other = make_generator(), make_generator(seed=7)
    samples = fakes(one, count=60)

    folder = archive.parent / "painted"
    folder.mkdir(exist_ok=True)
    for i, picture in enumerate(samples.block(0)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{i:02d}.png")
    measured = evaluator("fd_random60_full,kd_random60_full", folder, settings=Settings(seed=3))
    near, far = measured.measure(one), measured.measure(other)
    assert near["fd_random60_full"] < far["fd_random60_full"]
    assert near["kd_random60_full"] < far["kd_random60_full"]


def test_the_path_length_grows_with_what_a_step_changes(snapshot, archive):
    quiet, lively = make_generator(), make_generator()
    for block in lively.synthesis._blocks():
        block.to_rgb.weight.mul_(2)  # pictures of twice the contrast
    measured = evaluator("ppl2_wend_discriminator_40", archive, reference=snapshot)
    lengths = [measured.measure(g)["ppl2_wend_discriminator_40"] for g in (quiet, lively)]
    assert lengths[1] > 1.5 * lengths[0]


def test_the_path_length_is_measured_in_float32_whatever_the_pictures_are_made_in(snapshot, archive):
    metrics = "ppl2_wend_discriminator_40,fd_random60_full"
    measured = evaluator(metrics, archive, reference=snapshot)
    generator = make_generator()
    exact = measured.measure(generator)
    generator.set_precision(torch.bfloat16)
    found = measured.measure(generator)
    assert generator.synthesis.low_precision is torch.bfloat16
    assert found["ppl2_wend_discriminator_40"] == exact["ppl2_wend_discriminator_40"]
    assert found["fd_random60_full"] != exact["fd_random60_full"]
    assert [result.card.precision for result in found.results] == ["fp32", "bf16"]


def test_the_public_function_measures_a_snapshot(archive, snapshot):
    evaluation = capriccio.evaluate(snapshot, archive, "fd_random_full", count=64)
    assert list(evaluation.values) == ["fd_random64_full"]
    assert evaluation.subject_hash == load(snapshot).model_hash


# ---- the ruler of a data set


def test_the_first_reference_given_stays_the_ruler_of_its_data_set(archive, snapshot, generator, tmp_path):
    first = evaluator("fd_discriminator64_full", archive, reference=snapshot).measure(generator).results[0]
    again = evaluator("fd_discriminator64_full", archive).measure(generator).results[0]
    assert again.values == first.values
    assert again.card == first.card

    other = tmp_path / "other.safetensors"
    networks = Snapshot(generator=generator, discriminator=make_discriminator(seed=9), facts=SnapshotFacts())
    save_snapshot(other, networks)
    changed = evaluator("fd_discriminator64_full", archive, reference=other).measure(generator).results[0]
    assert [d.split(":")[0] for d in first.card.differences(changed.card)] == ["network_hash"]
    assert evaluator("fd_discriminator64_full", archive).measure(generator).results[0].values == first.values


def test_without_a_reference_the_command_that_names_one_is_told(archive):
    with pytest.raises(UsageError, match="--reference SNAPSHOT"):
        evaluator("fd_discriminator64_full", archive)


def test_a_slim_reference_is_refused(archive, generator, tmp_path):
    slim = tmp_path / "slim.safetensors"
    save_snapshot(slim, Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts()))
    with pytest.raises(SnapshotError, match="has no discriminator"):
        evaluator("fd_discriminator64_full", archive, reference=slim)


# ---- what is refused


def test_missing_weights_say_which_file_from_where_and_which_flag(archive):
    with pytest.raises(UsageError, match=r"pt_inception.*https://.*SHA-256 6726825d.*--weights inception=PATH") as told:
        evaluator("fid50k_full", archive)
    assert "\n" not in str(told.value)
    with pytest.raises(UsageError, match="--weights vgg=PATH"):
        evaluator("pr50k3_full", archive)
    with pytest.raises(UsageError, match="--weights vgg=PATH"):
        evaluator("ppl2_wend")


def test_a_metric_of_real_pictures_needs_them():
    with pytest.raises(UsageError, match="fd_random100_full compares with real pictures; name them with --data"):
        evaluator("fd_random100_full")


def test_too_few_pictures_are_counted(tmp_path, generator):
    few = write_archive(tmp_path / "few.zip", SHAPE, count=3)
    with pytest.raises(DatasetError, match="needs at least 4 real pictures, got 3"):
        evaluator("pr_random100_k3_full", few)
    with pytest.raises(DatasetError, match="needs at least 10 samples, got 5"):
        evaluator("dc_random5_k9_full", few)


def test_pictures_of_other_channels_or_size_are_refused(tmp_path):
    grey = write_archive(tmp_path / "grey.zip", ImageShape(channels=1, height=16, width=24), count=5)
    with pytest.raises(ShapeError, match="pictures of 1 channels, the network paints 3"):
        evaluator("fd_random64_full", grey)
    small = write_archive(tmp_path / "small.zip", ImageShape(channels=3, height=8, width=12), count=5)
    with pytest.raises(DatasetError, match="too small for 16×24"):
        evaluator("fd_random64_full", small)
    square = write_archive(tmp_path / "square.zip", ImageShape(channels=3, height=32, width=32), count=5)
    with pytest.raises(DatasetError, match="another aspect"):
        evaluator("fd_random64_full", square)


def test_a_network_of_another_shape_is_refused(archive):
    with pytest.raises(ShapeError, match="'square' paints 3×16×16"):
        evaluator("fd_random64_full", archive).measure(make_generator(ImageShape(height=16, width=16)), name="square")


@pytest.mark.parametrize("metric", ["fd_random64_full", "ppl2_wend_discriminator_32"])
def test_a_broken_network_is_named(archive, snapshot, metric):
    broken = make_generator()
    next(iter(broken.synthesis.parameters())).fill_(float("nan"))
    with pytest.raises(JobError, match="'runs/broken' paints values that are not finite"):
        evaluator(metric, archive, reference=snapshot).measure(broken, name="runs/broken")


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(UsageError, match="--repeats and --batch must be at least 1"):
        Settings(repeats=0)
    with pytest.raises(UsageError, match="--psi must lie in"):
        Settings(psi=11)
    with pytest.raises(UsageError, match=r"'lanzcos' is not a filter\. Did you mean 'lanczos'"):
        open_reals("anywhere", SHAPE, resize_filter="lanzcos")


# ---- pictures in place of a generator


def test_two_halves_of_a_set_are_closer_than_noise_is(tmp_path, archive):
    half = write_archive(tmp_path / "half.zip", SHAPE, count=60)
    with pytest.raises(DatasetError, match=r"'000.png' of 'half' is among the real pictures too \(as '000.png'\)"):
        evaluator("fd_random50_full", archive).measure_pictures(open_reals(half, SHAPE), name="half")

    folder = tmp_path / "others"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(50):
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    found = evaluator("fd_random50_full", archive).measure_pictures(open_reals(folder, SHAPE), name="others")
    noise = evaluator("fd_random50_full", archive).measure(make_generator())
    assert found["fd_random50_full"] < noise["fd_random50_full"]
    card = found.results[0].card
    assert (card.samples, card.psi, card.seed) == ("pictures", None, None)


def test_pictures_too_few_or_asked_for_a_path_are_refused(archive, tmp_path, snapshot):
    few = open_reals(write_archive(tmp_path / "few.zip", SHAPE, count=5), SHAPE)
    with pytest.raises(DatasetError, match="asks for 50 samples, 'few' has 5 pictures"):
        evaluator("fd_random50_full", archive).measure_pictures(few, name="few")
    with pytest.raises(UsageError, match="it needs a model"):
        evaluator("ppl2_wend_discriminator_16", archive, reference=snapshot).measure_pictures(few)


# ---- several processes


@pytest.mark.slow
def test_two_processes_find_what_one_finds(archive, snapshot, tmp_path, cache):
    metrics = f"{SETS},ppl2_wend_discriminator_40"
    alone = evaluate(snapshot, archive, metrics, reference=snapshot)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "capriccio", "metrics", "--model", snapshot, "--data", archive, "--metrics", metrics,
               "--reference", snapshot, "--out", tmp_path / "two.json", "--json"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CAPRICCIO_CACHE": str(tmp_path / "cold")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    together = read_evaluation(tmp_path / "two.json")
    for mine, theirs in zip(together.results, alone.results, strict=True):
        assert mine.card == theirs.card
        assert mine.values == pytest.approx(theirs.values, rel=1e-5)
