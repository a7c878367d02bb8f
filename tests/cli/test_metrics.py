"""``capriccio metrics`` and ``metrics compare`` from the outside."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot
from tests.metrics.conftest import make_discriminator, make_generator


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_snapshot(path, Snapshot(generator=make_generator(), discriminator=make_discriminator(), facts=SnapshotFacts()))
    return path


def test_numbers_and_protocol_are_printed(cli, model, archive):
    code, out, err = cli("metrics", "-m", model, "--data", archive, "--metrics", "fd_random64_full,pr_random64_k3_full")
    assert code == 0, err
    assert "fd_random64_full" in out
    assert "[not comparable with the literature]" in out
    assert "resize_filter: none" in out
    assert "seed: 0" in out


def test_json_is_one_document_with_a_card_for_every_number(cli, model, archive):
    words = ("-m", model, "--data", archive, "--metrics", "fd_random_full", "--count", 64)
    code, out, _ = cli("metrics", *words, "--json")
    assert code == 0
    document = json.loads(out)
    [result] = document["results"]
    assert list(result["values"]) == ["fd_random64_full"]
    assert {"data_hash", "count", "resize_filter", "mirror", "network", "network_hash", "psi", "seed", "code"} <= set(
        result["card"]
    )


def test_two_evaluations_are_compared_only_if_measured_alike(cli, model, archive, tmp_path):
    def measured(name: str, *flags: object) -> str:
        path = tmp_path / name
        words = ("-m", model, "--data", archive, "--metrics", "fd_random64_full", "--out", path)
        assert cli("metrics", *words, *flags)[0] == 0
        return str(path)

    first, again, truncated = measured("a"), measured("b", "--batch", 5), measured("c", "--psi", 0.5)
    code, out, _ = cli("metrics", "compare", first, again, "--json")
    assert code == 0
    [found] = json.loads(out)
    assert found["first"] == pytest.approx(found["second"], rel=1e-3)
    code, _, err = cli("metrics", "compare", first, truncated)
    assert code == 2
    assert "the cards differ in psi: 1.0 and 0.5" in err
    assert cli("metrics", "compare", first, truncated, "--ignore", "psi")[0] == 0


def test_a_folder_of_pictures_can_take_the_place_of_a_model(cli, archive, tmp_path):
    rng = np.random.default_rng(7)
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    code, out, _ = cli("metrics", "--samples", tmp_path, "--data", archive, "--metrics", "fd_random40_full", "--json")
    assert code == 0
    assert json.loads(out)["results"][0]["card"]["samples"] == "pictures"
    Image.new("RGB", (50, 50)).save(tmp_path / "grid.png")
    code, _, err = cli("metrics", "--samples", tmp_path, "--data", archive, "--metrics", "fd_random40_full")
    assert (code, "give pictures of one size ('generate --no-grid'" in err) == (2, True)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--metrics", "fid50k_full"], "pt_inception-2015-12-05-6726825d.pth is not here: get it from https://"),
        (["--metrics", "fdi5k"], "'fdi5k' is not a metric"),
        (["--weights", "inception"], "not of the form KEY=PATH"),
        (["--weights", "squeeze=nowhere.pth", "--metrics", "fd_squeeze64"], "there is no file 'nowhere.pth'"),
        (["--resize-filter", "cubic"], "--resize-filter"),
        (["--samples", "x"], "--model and --samples both name what is to be measured"),
        (["--repeats", "0"], "--repeats and --batch must be at least 1"),
        (["--count", "0", "--metrics", "fd_random"], "--count must be at least 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(cli, model, archive, flags, told):
    code, out, err = cli("metrics", "-m", model, "--data", archive, *flags)
    assert code == 2
    assert told in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


def test_missing_pictures_are_named(cli, model, tmp_path):
    assert "name them with --data" in cli("metrics", "-m", model)[2]
    code, _, err = cli("metrics", "-m", model, "--data", tmp_path / "nothing.zip", "--metrics", "fd_random64_full")
    assert code == 2
    assert "nothing.zip" in err


def test_a_run_folder_knows_its_pictures(cli, model, archive, tmp_path):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "snapshot-000001.safetensors").write_bytes(model.read_bytes())
    (tmp_path / "config.yaml").write_text(f"data: {{path: {archive}}}\n")
    code, out, err = cli("metrics", "-m", tmp_path, "--metrics", "fd_random64_full", "--json")
    assert code == 0, err
    assert json.loads(out)["results"][0]["card"]["reals"] == 20
    (tmp_path / "config.yaml").write_text("data: 3\n")
    assert "name them with --data" in cli("metrics", "-m", tmp_path, "--metrics", "fd_random64_full")[2]
