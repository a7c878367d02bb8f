from __future__ import annotations

import json
import math
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
from capriccio.cli.main import main
from capriccio.detection.calibrate import (
    CalibrationRequest,
    calibrate,
    calibration_half,
    is_calibrated,
    made_picture,
    stored_calibration,
)
from capriccio.detection.detector import Detector, accused_at_fdr, decide
from capriccio.detection.edits import EDITS, random_edit
from capriccio.detection.evidence import FEATURES
from capriccio.detection.scoring import Calibration, auc, calibrate_scores
from capriccio.errors import SnapshotError, UsageError
from capriccio.inversion.project import Projector
from capriccio.loading.model import Model, load
from capriccio.snapshots.snapshot import save_snapshot
from tests.loading.test_model import snapshot


def known(count: int, shift: float, seed: int) -> np.ndarray:
    """Evidence whose first number is the energy, growing with complexity in all classes."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, len(FEATURES)))
    detail = FEATURES.index("log_detail_1")
    numbers[:, 0] = 3 * numbers[:, detail] + shift + 0.3 * rng.normal(size=count)
    return numbers


def fitted(count=200, shift=1.5) -> Calibration:
    groups = np.arange(count)
    return calibrate_scores(known(count, 0, 1), known(count, shift, 2), groups, groups, {"any": 1})


def test_complexity_is_taken_out_of_the_energy():
    calibration = fitted()
    made, real = known(500, 0, 3), known(500, 1.5, 4)
    raw = auc(-made[:, 0], -real[:, 0])
    corrected = auc(calibration.scorer.scores(made), calibration.scorer.scores(real))
    assert raw < 0.75
    assert corrected > 0.98


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_error_rates_hold_on_pictures_that_were_not_used(level):
    calibration = fitted(400)
    real = calibration.read(known(4000, 1.5, 5)).p_not_made
    made = calibration.read(known(4000, 0, 6)).p_made
    for p in (real, made):
        assert abs(float((p <= level).mean()) - level) < 0.4 * level + 0.01


def test_without_photographs_made_pictures_are_still_judged_for_their_complexity():
    calibration = calibrate_scores(known(200, 0, 1), None, np.arange(200), None, {})
    far = calibration.read(known(300, 3.0, 7)).p_made
    near = calibration.read(known(300, 0, 8))
    assert float((far <= 0.01).mean()) > 0.9
    assert float((near.p_made <= 0.01).mean()) < 0.05
    assert np.isnan(near.p_not_made).all()


def test_what_is_explained_well_but_unlike_all_pictures_of_the_network_is_not_called_made():
    calibration = fitted()
    plain = known(20, -2, 11)
    plain[:, 1:] -= 12
    plain[:, 0] = -60
    read = calibration.read(plain)
    assert float(np.min(read.scores)) > float(np.median(calibration.made))
    assert {decide(float(a), float(b), 0.01) for a, b in zip(read.p_made, read.p_not_made, strict=True)} == {
        "out-of-domain"
    }


def test_a_number_that_did_not_vary_among_the_known_decides_nothing():
    groups = np.arange(200)
    made, real, new = known(200, 0, 1), known(200, 1.5, 2), known(300, 0, 12)
    missing = FEATURES.index("missing_detail")
    for evidence in (made, real, new):
        evidence[:, missing] = 0
    made[7, missing] = -1e-3
    calibration = calibrate_scores(made, real, groups, groups, {})
    before = calibration.read(new)
    new[:, missing] = -0.3
    after = calibration.read(new)
    assert np.abs(after.scores - before.scores).max() < 0.1
    assert (calibration.domain.distances(new) < calibration.domain.reach).mean() > 0.95


def test_a_calibration_survives_being_stored():
    calibration = fitted()
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    evidence = known(50, 1, 9)
    read, reread = calibration.read(evidence), again.read(evidence)
    np.testing.assert_allclose(reread.scores, read.scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(reread.p_made, read.p_made, atol=0.01)
    np.testing.assert_allclose(
        again.domain.distances(evidence), calibration.domain.distances(evidence), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "spoil",
    [
        {"version": 99},
        {"made": []},
        {"weights": [[1.0]]},
        {"mean": None},
        {"made": [math.nan]},
        {"domain_reach": "far"},
    ],
)
def test_a_spoilt_calibration_is_told(spoil):
    with pytest.raises(SnapshotError, match="capriccio calibrate"):
        Calibration.from_dict(fitted().to_dict() | spoil)


@pytest.mark.parametrize(
    ("p_made", "p_not_made", "verdict"),
    [(0.5, 0.005, "made"), (0.005, 0.5, "not-made"), (0.5, 0.5, "undecided"), (0.005, 0.005, "out-of-domain"),
     (0.5, math.nan, "undecided"), (0.005, math.nan, "not-made")],
)  # fmt: skip
def test_verdicts_of_p_values(p_made, p_not_made, verdict):
    assert decide(p_made, p_not_made, 0.01) == verdict


def test_the_share_of_false_accusations_is_held_in_a_folder_of_thousands():
    rng = np.random.default_rng(0)
    innocent, guilty = rng.random(3000), rng.random(300) * 1e-3
    accused = np.array(accused_at_fdr([*innocent, *guilty], 0.1))
    assert accused[3000:].mean() > 0.9
    assert accused[:3000].sum() / accused.sum() < 0.15
    assert accused_at_fdr([math.nan, 0.9], 0.1) == [False, False]


def test_auc_counts_ties_half():
    assert auc(np.array([1.0, 2.0]), np.array([1.0, 0.0])) == pytest.approx(0.875)


def test_held_out_pictures_are_parted_without_overlap():
    first, second = calibration_half([f"img{i}.jpg" for i in range(11)])
    assert not set(first) & set(second)
    assert len(first) + len(second) == 11


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("name", list(EDITS))
def test_edits_change_a_picture_and_keep_its_shape(name, mode):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (32, 48, 4), dtype=np.uint8)
    picture = Image.fromarray(noise, "RGBA").convert(mode)
    edited = EDITS[name](picture, rng)
    assert (edited.size, edited.mode) == (picture.size, picture.mode)
    assert edited.tobytes() != picture.tobytes()
    assert random_edit(picture, np.random.default_rng(3))[0] == random_edit(picture, np.random.default_rng(3))[0]


@pytest.fixture
def files(tmp_path):
    save_snapshot(tmp_path / "m.safetensors", snapshot())
    model = Model(snapshot())
    rng = np.random.default_rng(0)
    for folder, count in (("reals", 24), ("ask", 3)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            noise = rng.integers(0, 255, (*model.size, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / folder / f"real{i:02d}.png")
    for i in range(3):
        pixels = made_picture(model, 500 + i).transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "ask" / f"made{i}.png")
    (tmp_path / "ask" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path


@pytest.mark.timeout(300)
def test_batches_side_by_side_calibrate_like_one_after_the_other():
    model, told = Model(snapshot()), []
    request = CalibrationRequest(num_made=20, edits=False, batch=4)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = calibrate(model, [], request)
        torch.set_num_threads(3)
        together = calibrate(model, [], request, lambda done, total: told.append((done, total)))
        assert torch.get_num_threads() == 3
        with pytest.raises(KeyboardInterrupt):
            calibrate(model, [], request, _interrupted)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert told == [(4 * i, 20) for i in range(1, 6)]
    np.testing.assert_array_equal(together.made, alone.made)


def _interrupted(done, total):
    raise KeyboardInterrupt


@pytest.mark.timeout(300)
def test_calibrate_then_detect_from_the_command_line(files, capsys):
    calibrated = files / "calibrated.safetensors"
    assert main(["calibrate", "-m", str(files / "m.safetensors"), "--data", str(files / "reals"), "--unseen",
                 "--count", "24", "--no-edits", "--encoder-images", "640",
                 "--out", str(calibrated), "--json"]) == 0  # fmt: skip
    facts = json.loads(capsys.readouterr().out)
    assert (facts["made"], facts["real"]) == (24, 24)
    assert facts["auc"] > 0.9
    assert load(calibrated).model_hash == load(files / "m.safetensors").model_hash
    assert load(calibrated).encoder is not None

    report = files / "report.html"
    asked = ["detect", str(files / "ask"), "-m", str(calibrated), "--level", "0.1", "--json", "--report", str(report)]
    assert main(asked) == 0
    verdicts = {v["file"].rsplit("/", 1)[1]: v for v in json.loads(capsys.readouterr().out)}
    assert verdicts["broken.jpg"]["verdict"] == "error"
    made = [v["score"] for name, v in verdicts.items() if name.startswith("made")]
    real = [v["score"] for name, v in verdicts.items() if name.startswith("real")]
    assert min(made) > max(real)
    again = {v.file.rsplit("/", 1)[1]: v for v in capriccio.detect(load(calibrated), [files / "ask"], level=0.1)}
    assert {name: v.verdict for name, v in again.items()} == {name: v["verdict"] for name, v in verdicts.items()}
    assert all((v.projection is None) == (v.verdict == "error") for v in again.values())
    assert again["made1.png"].projection.images.shape == (1, 3, 16, 16)
    assert "not made by this network" in report.read_text()
    assert main([*asked, "--fail-on", "error"]) == 1

    capsys.readouterr()
    assert main(["detect", str(files / "ask" / "broken.jpg"), "-m", str(calibrated), "-m", str(calibrated)]) == 0
    told = capsys.readouterr()
    assert [line.split(" ")[0] for line in told.out.splitlines()] == ["Asked", f"{files / 'ask' / 'broken.jpg'}:"] * 2
    assert "At a level of 0.01 nothing can be called made: the 24 photographs" in told.err


def test_a_model_without_calibration_says_which_command_makes_one(files, capsys, monkeypatch):
    monkeypatch.setenv("CAPRICCIO_CACHE", str(files / "cache"))
    assert main(["detect", str(files / "ask"), "-m", str(files / "m.safetensors")]) == 2
    assert f"'capriccio calibrate --model {files / 'm.safetensors'} --data PHOTOGRAPHS'" in capsys.readouterr().err


def test_a_conditional_model_is_not_sent_to_a_command_that_refuses_it(tmp_path):
    with pytest.raises(UsageError, match="unconditional networks only"):
        stored_calibration(Model(snapshot(c_dim=2)), tmp_path)


def test_a_calibration_from_the_cache_is_found(files, capsys, monkeypatch):
    monkeypatch.setenv("CAPRICCIO_CACHE", str(files / "cache"))
    assert main(["calibrate", "-m", str(files / "m.safetensors"), "--count", "20", "--no-edits",
                 "--encoder-images", "64"]) == 0  # fmt: skip
    assert main(["detect", str(files / "ask" / "made0.png"), "-m", str(files / "m.safetensors"), "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("[{") :])[0]["p_not_made"] is None


def test_asking_for_a_calibration_leaves_the_model_as_it_is(files, capsys, monkeypatch):
    monkeypatch.setenv("CAPRICCIO_CACHE", str(files / "cache"))
    model, cache = load(files / "m.safetensors"), files / "cache"
    assert not is_calibrated(model, cache)
    shortly = ["--count", "20", "--no-edits", "--encoder-images", "64"]
    assert main(["calibrate", "-m", str(files / "m.safetensors"), *shortly]) == 0
    assert is_calibrated(model, cache)
    stored = stored_calibration(model, cache)
    assert (model.encoder, stored.encoder is None) == (None, False)
    judging = Detector(model, stored.calibration, encoder=stored.encoder).projector
    assert (judging.encoder, Projector(model).encoder) == (stored.encoder, None)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_judge_and_paint_what_one_does(files, capsys, monkeypatch):
    monkeypatch.setenv("CAPRICCIO_CACHE", str(files / "cache"))
    model = ["-m", str(files / "m.safetensors")]
    assert main(["calibrate", *model, "--count", "20", "--no-edits", "--encoder-images", "64"]) == 0
    asked = ["detect", str(files / "ask"), *model, "--json", "--report", str(files / "alone.html")]
    capsys.readouterr()
    assert main(asked) == 0
    alone = json.loads(capsys.readouterr().out)
    together = json.loads(in_two_processes([*asked[:-1], str(files / "together.html")], files))
    for one, other in zip(alone, together, strict=True):
        assert (one["file"], one["verdict"], one.get("error")) == (other["file"], other["verdict"], other.get("error"))
        assert (one["score"] or 0) == pytest.approx(other["score"] or 0, abs=0.02)  # rounding of other batches
    assert (files / "together.html").read_text().count("<img") == (files / "alone.html").read_text().count("<img")

    painting = ["generate", *model, "--seeds", "0-6", "--batch", "2", "--no-grid", "--json", "--out"]
    written = json.loads(in_two_processes([*painting, str(files / "painted")], files))["files"]
    assert main([*painting, str(files / "painted-alone")]) == 0
    assert [Path(name).read_bytes() for name in written] == [
        Path(name).read_bytes() for name in json.loads(capsys.readouterr().out)["files"]
    ]


def in_two_processes(words, folder):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "capriccio", *words]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_verdicts_are_asked_for_in_the_precision_of_the_calibration(files, capsys, monkeypatch):
    monkeypatch.setenv("CAPRICCIO_CACHE", str(files / "cache"))
    model = ["-m", str(files / "m.safetensors")]
    shortly = ["--count", "20", "--no-edits", "--encoder-images", "64"]
    assert main(["calibrate", *model, *shortly, "--precision", "bf16"]) == 0
    assert main(["detect", str(files / "ask"), *model, "--precision", "bf16"]) == 0
    capsys.readouterr()
    assert main(["detect", str(files / "ask"), *model]) == 2
    assert "another encoder, precision or other settings" in capsys.readouterr().err
    assert main(["project", str(files / "ask"), *model, "--precision", "bf16", "--out", str(files / "found")]) == 0
    assert json.loads((files / "found" / "made0" / "projection.json").read_text())["precision"] == "bf16"


def test_photographs_that_may_have_been_trained_on_are_refused(files, capsys):
    assert main(["calibrate", "-m", str(files / "m.safetensors"), "--data", str(files / "reals")]) == 2
    assert "--unseen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--count", "10"], "--count must be at least 20, got 10."),
        (["--batch", "0"], "--batch must be at least 1, got 0."),
        (["--reals", "7"], "--reals must be at least 20, got 7."),
        (["--data", "nowhere.zip", "--unseen"], "--data: there is no file or folder 'nowhere.zip'."),
        (["--data", "{}/ask", "--unseen"], "--data: a calibration needs at least 20 photographs; '{}/ask' holds 6."),
    ],
)
def test_what_a_calibration_cannot_do_is_said_before_an_encoder_is_trained(flags, told, files, capsys, monkeypatch):
    monkeypatch.setattr("capriccio.detection.calibrate.give_encoder", _interrupted)
    assert main(["calibrate", "-m", str(files / "m.safetensors"), *(f.format(files) for f in flags)]) == 2
    assert capsys.readouterr().err == f"capriccio: error: {told.format(files)}\n"


def test_a_calibration_says_how_many_have_to_be_held_out(files, capsys, monkeypatch):
    monkeypatch.setattr("capriccio.detection.calibrate.give_encoder", _interrupted)
    kept = snapshot()
    facts = replace(kept.facts, data={"heldout": [f"real{i:02d}.png" for i in range(6)]})
    save_snapshot(files / "run.safetensors", replace(kept, facts=facts))
    assert main(["calibrate", "-m", str(files / "run.safetensors"), "--data", str(files / "reals")]) == 2
    assert "half of the 6 held-out ones are 3. Train with --holdout 40 or more" in capsys.readouterr().err


def test_another_set_with_the_same_names_is_not_taken_for_the_models(files, capsys, monkeypatch):
    monkeypatch.setattr("capriccio.detection.calibrate.give_encoder", _interrupted)
    kept, heldout = snapshot(), [f"real{i:02d}.png" for i in range(22)] + [f"more{i}.png" for i in range(30)]
    asked = ["calibrate", "-m", str(files / "run.safetensors"), "--data", str(files / "reals")]
    for total, told in ((60, "which had 8 pictures beside those held out, and this has 2."), (54, "at least 20")):
        facts = replace(kept.facts, data={"heldout": heldout, "total": total})
        save_snapshot(files / "run.safetensors", replace(kept, facts=facts))
        assert main(asked) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--level", "0.7"], ["--fdr", "2"], ["--batch", "0"], ["--report", "r"]])
def test_flags_that_make_no_sense_are_refused(flags, files):
    assert main(["detect", str(files / "ask"), "-m", str(files / "m.safetensors"), *flags]) == 2


def test_a_report_has_the_ending_of_a_page(files, capsys):
    assert main(["detect", str(files / "ask"), "--report", "verdicts"]) == 2
    assert "--report: the name must end in .html, got 'verdicts'." in capsys.readouterr().err


def test_too_few_known_pictures_are_refused():
    with pytest.raises(UsageError, match="at least 20 pictures of each kind, got 5 made"):
        calibrate_scores(known(5, 0, 1), None, np.arange(5), None, {})
    with pytest.raises(UsageError, match="got 60 made and 7 real ones"):  # many versions of few pictures
        calibrate_scores(known(60, 0, 1), known(60, 1, 2), np.arange(60), np.arange(60) % 7, {})
