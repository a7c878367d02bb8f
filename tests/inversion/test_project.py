from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from capriccio.cli.main import main
from capriccio.errors import ShapeError, UsageError
from capriccio.inversion.fast import FastSettings
from capriccio.inversion.project import Projector, project
from capriccio.inversion.projection import Projection, ProjectionSettings
from capriccio.inversion.targets import find_pictures
from capriccio.inversion.w_statistics import w_statistics
from capriccio.latent.files import Latents, load_latents, save_latents
from capriccio.loading.model import Model
from capriccio.provenance import read_provenance
from capriccio.rendering.generate import GenerateRequest, generate
from capriccio.rendering.grids import to_uint8
from capriccio.rendering.look import Look
from capriccio.snapshots.snapshot import save_snapshot
from tests.loading.test_model import snapshot

QUICK = ProjectionSettings(num_steps=8)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(snapshot())


@pytest.fixture(scope="module")
def pictures(model):
    return model.images(model.ws(seeds=[500, 501, 502]))


def test_whitened_latents_of_the_network_are_spread_alike(model):
    statistics = w_statistics(model.generator, num_samples=2000)
    v = statistics.to_v(statistics.latents)
    torch.testing.assert_close(statistics.to_w(v), statistics.latents, atol=1e-3, rtol=1e-3)
    assert v.mean(dim=0).abs().max() < 1e-2
    variances = v.square().mean(dim=0)
    assert variances.max() < 1.01
    assert variances.median() > 0.9


@pytest.mark.parametrize(
    "settings",
    [
        ProjectionSettings(num_steps=40),
        ProjectionSettings(num_steps=40, space="w+"),
        ProjectionSettings(num_steps=40, optimize_noise=True),
        ProjectionSettings(num_steps=20, num_restarts=2),
    ],
    ids=["w", "w+", "noise", "restarts"],
)
def test_pictures_of_the_network_are_found_nearly(model, pictures, settings):
    found = project(model, pictures, settings)
    start = found.history[0]
    assert (found.distances < 0.5 * start).all()
    rows = found.ws - found.ws[:, :1]
    assert (rows.abs().max() > 0) == (settings.space == "w+")
    assert bool(found.noise) == settings.optimize_noise


def test_a_projection_with_noise_maps_is_painted_again_as_it_was_found(model, pictures, tmp_path):
    found = project(model, pictures, ProjectionSettings(num_steps=10, optimize_noise=True))
    request = GenerateRequest(source=found.save(tmp_path / "found.npz"), look=Look())
    painted = [to_uint8(dequantized(p.image)[None])[0] for p in generate(model, request)]
    for image, again in zip(found.images, painted, strict=True):
        assert np.abs(to_uint8(image[None])[0].astype(int) - again.astype(int)).max() <= 1
    with pytest.raises(ShapeError, match="noise maps"):
        model.images(found.ws, noise_maps={"b8.conv0": torch.zeros(3, 8, 8)})


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_a_projection_comes_back_whole_from_its_file(model, pictures, tmp_path, ending):
    found = project(model, pictures, ProjectionSettings(num_steps=3, optimize_noise=True, seed=5))
    read = Projection.load(found.save(tmp_path / f"found.{ending}", ("a", "b", "c")))
    assert (read.distance, read.settings, read.seconds) == (found.distance, found.settings, found.seconds)
    assert (read.model_hash, read.licence) == (found.model_hash, found.licence)
    assert read.noise.keys() == found.noise.keys()
    for one, other in (*((read.noise[name], found.noise[name]) for name in found.noise),
                       *((getattr(read, name), getattr(found, name)) for name in ("ws", "images", "distances")),
                       *zip(read.history, found.history, strict=True)):  # fmt: skip
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    second = read.one(1)
    torch.testing.assert_close(second.images, found.images[1:2])
    assert [len(second.ws), len(second.distances), len(second.history[0])] == [1, 1, 1]
    assert all(len(maps) == 1 for maps in second.noise.values())


def test_files_are_projected_like_their_pixels(model, pictures, tmp_path):
    for i, pixels in enumerate(to_uint8(pictures)):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    settings = ProjectionSettings(num_steps=3)
    found = project(model, tmp_path, settings)
    exact = torch.stack([dequantized(Image.open(tmp_path / f"{i}.png")) for i in range(len(pictures))])
    torch.testing.assert_close(found.ws, project(model, exact, settings).ws)
    assert len(project(model, str(tmp_path / "1.png"), settings).ws) == 1
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"broken\.png"):
        project(model, [tmp_path], settings)


def test_latents_alone_are_no_projection(model, tmp_path):
    path = save_latents(tmp_path / "w.safetensors", Latents(ws=model.ws(seeds=[1])))
    with pytest.raises(UsageError, match=r"w\.safetensors: no whole projection, latents at most"):
        Projection.load(path)


def dequantized(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1


def test_the_official_method_comes_nearer_too(model, pictures):
    found = project(model, pictures, ProjectionSettings(method="official", num_steps=60))
    assert (found.distances < found.history[0]).all()
    assert len(found.history) == 60
    assert all(abs(float(n.mean())) < 1e-4 for n in found.noise.values())


@pytest.mark.parametrize("method", ["fast", "official"])
def test_a_projection_depends_on_its_picture_never_on_its_batch(model, pictures, method):
    settings = ProjectionSettings(method=method, num_steps=8)
    together = project(model, pictures, settings)
    alone = project(model, pictures[1:2], settings)
    torch.testing.assert_close(together.ws[1:2], alone.ws, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(together.distances[1:2], alone.distances, atol=1e-4, rtol=1e-3)


def test_it_can_be_abandoned_after_any_step_with_what_was_found(model, pictures):
    running = Projector(model, QUICK).start(pictures)
    steps = iter(running)
    next(steps), next(steps)
    found = running.result()
    assert len(found.history) == 2
    assert found.ws.shape == (3, model.num_ws, model.w_dim)


def test_weights_want_gradients_again_after_every_step(model, pictures):
    wanting = [p.requires_grad for p in model.generator.parameters()]
    for _ in Projector(model, QUICK).start(pictures):
        assert [p.requires_grad for p in model.generator.parameters()] == wanting


def test_pixels_outside_the_mask_do_not_count(model, pictures):
    mask = torch.zeros(3, 1, *model.size)
    mask[..., : model.size[1] // 2] = 1
    spoilt = pictures.clone()
    spoilt[..., model.size[1] // 2 :] = 1.0
    clean, masked = (project(model, p, QUICK, masks=mask) for p in (pictures, spoilt))
    # The discriminator sees the pasted half, so latents differ a little; the free choice of the other half stays.
    assert (masked.distances < project(model, spoilt, QUICK).distances).all()
    assert clean.ws.shape == masked.ws.shape


def test_other_shapes_and_channels_are_refused_in_words(model, pictures):
    with pytest.raises(ShapeError, match="must be"):
        project(model, pictures[:, :1], QUICK)
    with pytest.raises(ShapeError, match="masks"):
        project(model, pictures, QUICK, masks=torch.ones(3, 1, 2, 2))
    with pytest.raises(ShapeError, match="Bytes are divided by 127"):
        project(model, torch.full_like(pictures, 200, dtype=torch.uint8), QUICK)
    with pytest.raises(ShapeError, match="lie in −1…1, got nan"):
        project(model, pictures * float("nan"), QUICK)
    with pytest.raises(UsageError, match="or files, got ndarray"):
        project(model, pictures.numpy(), QUICK)


@pytest.mark.parametrize("changes", [{"num_steps": 0}, {"num_restarts": 0}, {"rows": "z"}])
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(UsageError):
        FastSettings(**changes)


@pytest.fixture
def snapshot_file(tmp_path):
    save_snapshot(tmp_path / "m.safetensors", snapshot())
    return tmp_path / "m.safetensors"


def write_picture(path, height, width, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)


def test_the_command_projects_a_folder_and_goes_on_where_it_was(snapshot_file, tmp_path, capsys):
    write_picture(tmp_path / "in/a.png", 40, 60)
    write_picture(tmp_path / "in/b.png", 64, 64, 1)
    (tmp_path / "in/c.jpg").write_bytes(b"\xff\xd8\xff no picture")
    arguments = ["project", str(tmp_path / "in"), "-m", str(snapshot_file), "--out", str(tmp_path / "out"),
                 "--steps", "4", "--film", "--json"]  # fmt: skip
    assert main(arguments) == 0
    records = json.loads(capsys.readouterr().out)
    assert [("error" in r) for r in records] == [False, False, True]
    for name in ("a", "b"):
        for file in ("target.png", "reconstruction.png", "side-by-side.png", "film.webp", "latents.safetensors"):
            assert (tmp_path / "out" / name / file).is_file()
        assert read_provenance(tmp_path / "out" / name / "target.png") is None  # nobody made it with this network
        assert read_provenance(tmp_path / "out" / name / "reconstruction.png") is not None
    assert load_latents(tmp_path / "out/latents.safetensors").names == ("a", "b")

    before = (tmp_path / "out/a/projection.json").stat().st_mtime_ns
    write_picture(tmp_path / "in/d.png", 64, 64, 2)
    assert main(arguments) == 0
    assert (tmp_path / "out/a/projection.json").stat().st_mtime_ns == before
    assert len(load_latents(tmp_path / "out/latents.safetensors")) == 3
    capsys.readouterr()

    mix = ["mix", "-m", str(snapshot_file), "--rows", str(tmp_path / "out/a/latents.safetensors"),
           "--cols", str(tmp_path / "out/b/latents.safetensors"), "--out", str(tmp_path / "mix.png")]  # fmt: skip
    assert main(mix) == 0


def test_another_picture_of_the_same_name_or_another_mask_is_not_taken_for_the_finished_one(
    snapshot_file, tmp_path, capsys
):
    def projected(*words):
        arguments = ["project", *map(str, words), "-m", str(snapshot_file), "--out", str(tmp_path / "out")]
        assert main([*arguments, "--steps", "2", "--json"]) == 0
        (record,) = json.loads(capsys.readouterr().out)
        return record

    write_picture(tmp_path / "x/a.png", 64, 64)
    write_picture(tmp_path / "y/a.png", 64, 64, 1)
    Image.fromarray(np.repeat(np.arange(64, dtype=np.uint8)[None] // 32 * 255, 64, axis=0)).save(tmp_path / "mask.png")
    first, other = projected(tmp_path / "x/a.png"), projected(tmp_path / "y/a.png")
    assert (first["folder"], other["folder"]) == (str(tmp_path / "out/a"), str(tmp_path / "out/a-2"))
    assert other["file"] == str(tmp_path / "y/a.png")
    assert other["distance"] != first["distance"]
    assert projected(tmp_path / "y/a.png") == other
    assert projected(tmp_path / "x/a.png") == first
    masked = projected(tmp_path / "x/a.png", "--mask", tmp_path / "mask.png")
    assert masked["folder"] == first["folder"]
    assert masked["distance"] != first["distance"]


def test_a_film_that_was_not_made_yet_and_folders_that_moved(snapshot_file, tmp_path, capsys):
    def projected(picture, out, *flags):
        arguments = ["project", str(picture), str(picture), "-m", str(snapshot_file), "--out", str(tmp_path / out)]
        assert main([*arguments, "--steps", "2", "--json", *flags]) == 0
        (record,) = json.loads(capsys.readouterr().out)  # named twice, projected once
        return record

    write_picture(tmp_path / "x/a.png", 64, 64)
    write_picture(tmp_path / "y/a.png", 64, 64)
    first = projected(tmp_path / "x/a.png", "out")
    assert not (tmp_path / "out/a/film.webp").exists()
    projected(tmp_path / "x/a.png", "out", "--film")
    assert (tmp_path / "out/a/film.webp").is_file()
    (tmp_path / "out").rename(tmp_path / "moved")
    again = projected(tmp_path / "y/a.png", "moved")
    assert (again["file"], again["folder"]) == (str(tmp_path / "y/a.png"), str(tmp_path / "moved/a"))
    assert again["distance"] == first["distance"]


def test_pictures_called_like_what_is_written_get_other_places(snapshot_file, tmp_path, capsys):
    for name in ("latents.safetensors.png", "projections.json.png"):
        write_picture(tmp_path / "in" / name, 64, 64)
    arguments = ["project", str(tmp_path / "in"), "-m", str(snapshot_file), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--steps", "2"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "latents.safetensors", "latents.safetensors-2", "projections.json", "projections.json-2",
    ]  # fmt: skip


def test_the_command_tells_that_it_measures_the_curvature(snapshot_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CAPRICCIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("capriccio.cli.progress._SECONDS_BETWEEN_LINES", 0.0)
    write_picture(tmp_path / "a.png", 64, 64)
    arguments = ["project", str(tmp_path / "a.png"), "-m", str(snapshot_file), "--steps", "2"]
    for folder, measured in (("first", True), ("second", False)):
        assert main([*arguments, "--out", str(tmp_path / folder)]) == 0
        assert ("measuring the network's curvature, once: " in capsys.readouterr().err) == measured


def test_a_file_in_the_place_of_the_folder_is_named(snapshot_file, tmp_path, capsys):
    write_picture(tmp_path / "a.png", 64, 64)
    (tmp_path / "text.txt").write_text("only text")
    for out in (tmp_path / "text.txt", tmp_path / "text.txt" / "inside"):
        assert main(["project", str(tmp_path / "a.png"), "-m", str(snapshot_file), "--out", str(out)]) == 2
        assert f"--out: '{tmp_path / 'text.txt'}' is a file; name a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.write_bytes(b"no picture"), ""),
        (lambda p: write_picture(p, 1, 1), "too small"),
        (lambda p: write_picture(p, 32, 1000), "less than a quarter"),
        (lambda p: Image.new("1", (10_000, 10_000)).save(p), "million pixels"),
        (lambda p: p.write_bytes(b""), ""),
    ],
    ids=["text", "1x1", "absurd aspect", "100 megapixels", "empty"],
)
def test_a_bad_picture_is_told_in_one_line_and_fails_the_job(make, words, snapshot_file, tmp_path, capsys):
    make(tmp_path / "bad.png")
    code = main(["project", str(tmp_path / "bad.png"), "-m", str(snapshot_file), "--out", str(tmp_path / "out")])
    out = capsys.readouterr()
    assert code == 1
    assert "not projected" in out.out
    assert words in out.out
    assert "Latents for" not in out.out
    assert "Traceback" not in out.err


def test_litter_of_other_systems_is_no_picture(tmp_path):
    write_picture(tmp_path / "a.png", 64, 64)
    for name in ("._a.png", "__MACOSX/b.png", ".hidden/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"litter")
    assert find_pictures(tmp_path) == [tmp_path / "a.png"]


def test_further_starts_are_those_of_the_seed(model, pictures):
    def found(seed):
        settings = ProjectionSettings(num_steps=2, num_restarts=3, seed=seed)
        return project(model, pictures[:1], settings=settings).ws

    assert torch.equal(found(1), found(1))
    assert not torch.equal(found(1), found(2))


def test_a_slim_snapshot_says_what_is_missing(tmp_path, capsys):
    save_snapshot(tmp_path / "slim.safetensors", snapshot(slim=True))
    write_picture(tmp_path / "a.png", 64, 64)
    assert main(["project", str(tmp_path / "a.png"), "-m", str(tmp_path / "slim.safetensors")]) == 2
    assert "no discriminator" in capsys.readouterr().err


def test_the_official_method_refuses_the_space_it_does_not_know(snapshot_file, tmp_path, capsys):
    write_picture(tmp_path / "a.png", 64, 64)
    arguments = ["project", str(tmp_path / "a.png"), "-m", str(snapshot_file), "--method", "official", "--space", "w+"]
    assert main(arguments) == 2
    assert "official" in capsys.readouterr().err
