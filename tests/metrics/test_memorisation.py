import json

import pytest
import torch

from capriccio.cli.main import main
from capriccio.data.dataset import open_dataset
from capriccio.errors import DatasetError
from capriccio.loading.model import load
from capriccio.metrics.memorisation import _tail, find_memorised, judge, nearest
from capriccio.perception.random_network import RandomFeatures
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot
from tests.metrics.conftest import SHAPE, make_discriminator, make_generator


def ratios(count: int, seed: int) -> torch.Tensor:
    return 1 + 0.2 * torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_new_pictures_show_no_sign():
    verdicts = [judge(ratios(200, seed), ratios(100, 1000 + seed)) for seed in range(40)]
    assert sum(v.verdict == "no sign of memorisation" for v in verdicts) >= 38
    assert all("held-out" in v.sentence for v in verdicts)


def test_copies_are_called_memorised_and_a_few_of_them_suspicious():
    mostly = torch.cat([ratios(100, 1), torch.full((100,), 0.01)])
    assert judge(mostly, ratios(100, 2)).verdict == "memorised"
    few = torch.cat([ratios(180, 1), torch.full((16,), 0.01)])
    found = judge(few, ratios(100, 2))
    assert found.verdict == "suspicious"
    assert found.p_value < 0.01


def test_a_single_copy_does_not_hide_among_the_close_samples_that_are_expected():
    samples = ratios(500, 1)
    samples[17] = 0.0
    found = judge(samples, ratios(100, 2))
    assert found.p_value > 0.01  # its rank alone would not have shown it
    assert (found.verdict, found.copies) == ("suspicious", 1)
    assert "1 sample is a copy" in found.sentence


def test_the_probability_is_that_of_random_orders():
    n, m, rank, close = 12, 10, 2, 6
    rng = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(4000):
        order = torch.rand(n + m, generator=rng)
        limit = order[n:].kthvalue(rank).values
        hits += int((order[:n] < limit).sum()) >= close
    assert _tail(close, n, rank, m) == pytest.approx(hits / 4000, abs=0.025)
    assert _tail(0, n, rank, m) == pytest.approx(1)


def test_too_few_heldout_pictures_are_refused():
    with pytest.raises(DatasetError, match=r"at least 20 held-out pictures.*has 3; train with --holdout 20 or more\.$"):
        judge(ratios(10, 0), ratios(3, 1))


def test_the_nearest_of_a_copy_is_the_original():
    points = torch.randn(50, 6)
    distances, rows = nearest(points[[7, 3]], points, 2)
    assert rows[:, 0].tolist() == [7, 3]
    assert torch.equal(distances[:, 0], torch.zeros(2))
    assert (distances[:, 1] > 0).all()


@pytest.fixture
def trained(archive, tmp_path):
    """A snapshot that says it was trained on ``archive`` with 25 pictures held out."""
    split = open_dataset(archive, holdout=25, mirror=True)
    facts = SnapshotFacts(data=split.train.card.to_dict())
    path = tmp_path / "trained.safetensors"
    save_snapshot(path, Snapshot(generator=make_generator(), discriminator=make_discriminator(), facts=facts))
    return path


def test_neighbours_are_training_pictures_and_never_heldout_ones(archive, trained):
    found = find_memorised(load(trained), archive, RandomFeatures(3), count=70)
    assert found.sample_distances.shape == (70, 4)
    assert (found.sample_distances.diff(dim=1) >= 0).all()
    assert found.neighbours.max() < 2 * 35  # mirrored ones included
    assert len(found.heldout_ratios) == 25
    assert not set(found.train.names) & set(load(trained).facts.data["heldout"])


def test_the_command_writes_sheet_histogram_and_verdict(archive, trained, tmp_path, capsys):
    argv = ["metrics", "memorisation", "-m", trained, "--data", archive, "--count", 64, "--out", tmp_path / "out"]
    assert main([str(word) for word in [*argv, "--json"]]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] in ("no sign of memorisation", "suspicious", "memorised")
    assert len(told["samples"]) == 64
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"memorisation.json", "memorisation.png", "memorisation.svg"}


def test_other_pictures_than_those_of_the_training_are_refused(archive, tmp_path):
    path = tmp_path / "foreign.safetensors"
    card = {"hash": "f" * 64, "name": "elsewhere", "heldout": [], "mirror": False}
    save_snapshot(path, Snapshot(generator=make_generator(), discriminator=None, facts=SnapshotFacts(data=card)))
    assert load(path).shape == SHAPE
    with pytest.raises(DatasetError, match=r"not the data set this model was trained on \('elsewhere'\)"):
        find_memorised(load(path), archive, RandomFeatures(3), count=10)
