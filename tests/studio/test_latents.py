"""Latents in the studio: brought as files, made of pictures and photographs, taken home, painted like anything else."""

from __future__ import annotations

import io
import json
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from capriccio.latent.files import Latents, load_latents, read_latents, write_latents
from capriccio.provenance import Provenance, read_provenance
from capriccio.rendering.generate import GenerateRequest, generate
from capriccio.rendering.look import Look
from capriccio.studio.kept import Shelf, called

from .conftest import tiny_model, with_discriminator


def pixels(answer):
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)


def latents(model, count=2, *, noise=False, kind="edit", names=True):
    rng = torch.Generator().manual_seed(7)
    maps = {}
    if noise:
        shapes = model.generator.synthesis.noise_shapes()
        maps = {name: torch.randn(count, *shape, generator=rng)
                for name, shape in zip(model.noise_names, shapes, strict=True)}  # fmt: skip
    return Latents(
        ws=torch.randn(count, model.num_ws, model.w_dim, generator=rng),
        noise=maps,
        names=tuple(f"beach{i}" for i in range(count)) if names else (),
        provenance=Provenance(model_hash=model.model_hash, licence="CC0-1.0", kind=kind),
    )


def bring(client, file, name="mine.safetensors"):
    answer = client.post(f"/api/v1/latents?name={name}", content=file)
    assert answer.status_code == 200, answer.text
    return answer.json()["latents"]


def photograph(size=(24, 32)):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)).save(file, "jpeg")
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("noise", [False, True])
def test_a_latent_that_was_brought_is_the_picture_of_the_command_line(serve, model, suffix, noise):
    stored = latents(model, noise=noise)
    client = serve()
    brought = bring(client, write_latents(stored, suffix))
    assert [one["name"] for one in brought] == ["beach0", "beach1"]
    expected = [np.asarray(made.image).astype(int) for made in
                generate(model, GenerateRequest(source=stored, look=Look(truncation_psi=0.7)))]  # fmt: skip
    for one, picture in zip(brought, expected, strict=True):
        answer = client.get(f"/picture?latent={one['id']}&format=png")
        assert np.abs(pixels(answer) - picture).max() <= 1
        assert read_provenance(Image.open(io.BytesIO(answer.content))).latents == (one["name"],)
        assert "private" in answer.headers["cache-control"]


def test_seeds_and_latents_mix_both_ways(serve, model):
    client = serve()
    one, other = (found["id"] for found in bring(client, write_latents(latents(model))))
    plain = pixels(client.get(f"/picture?latent={one}&format=png"))
    for query in (f"latent={one}&mixed=3", f"seed=3&mixed_latent={one}", f"latent={one}&mixed_latent={other}"):
        assert np.abs(pixels(client.get(f"/api/v1/mix?{query}&layers=coarse&format=png")) - plain).max() > 1
    everything = pixels(client.get(f"/api/v1/mix?seed=3&mixed_latent={one}&layers=0-{model.num_ws - 1}&format=png"))
    assert np.abs(everything - plain).max() <= 1


def test_the_same_latents_have_the_same_id_everywhere(serve, model):
    file = write_latents(latents(model))
    first, second = serve(), serve()
    ids = [one["id"] for one in bring(first, file)]
    assert [one["id"] for one in bring(second, file)] == ids
    single = first.get(f"/api/v1/latents/{ids[1]}").content
    assert [one["id"] for one in bring(serve(), single, "other name")] == [ids[1]]
    tags = {client.get(f"/picture?latent={ids[0]}").headers["etag"] for client in (first, second)}
    assert len(tags) == 1


def test_the_tray_goes_home_as_a_file_that_paints_the_same(serve, model, tmp_path):
    client = serve()
    (mine, *_) = (one["id"] for one in bring(client, write_latents(latents(model, noise=True))))
    recipes = [{"seed": 5}, {"seed": 5, "psi": 0.3, "noise": "random"}, {"latent": mine},
               {"seed": 1, "mixed": 2, "layers": "coarse"}, {"seed": 6, "noise": "none"}]  # fmt: skip
    addresses = ["/picture?seed=5", "/picture?seed=5&psi=0.3&noise=random", f"/picture?latent={mine}",
                 "/api/v1/mix?seed=1&mixed=2&layers=coarse", "/picture?seed=6&noise=none"]  # fmt: skip
    for ending in ("safetensors", "npz"):
        answer = client.post("/api/v1/latents/file", json={"recipes": recipes, "format": ending})
        path = tmp_path / f"tray.{ending}"
        path.write_bytes(answer.content)
        made = list(generate(model, GenerateRequest(source=path)))
        for picture, address in zip(made, addresses, strict=True):
            shown = pixels(client.get(f"{address}{'&'}format=png"))
            assert np.abs(np.asarray(picture.image).astype(int) - shown).max() <= 1, address
        assert load_latents(path).names == ("seed 5", "seed 5", "beach0", "seed 1 with coarse of seed 2", "seed 6")


def test_a_mixture_can_be_kept_and_walked_through(serve):
    client = serve()
    answer = client.post("/api/v1/latents/made", json={"recipes": [{"seed": 1, "mixed": 2, "layers": "middle"}]})
    (kept,) = answer.json()["latents"]
    assert kept["name"] == "seed 1 with middle of seed 2"
    mixed = pixels(client.get("/api/v1/mix?seed=1&mixed=2&layers=middle&format=png"))
    assert np.abs(pixels(client.get(f"/picture?latent={kept['id']}&format=png")) - mixed).max() <= 1
    walk = {"keys": [7, kept["id"]], "seconds_per_key": 0.5, "frames_per_second": 8}
    job = client.post("/api/v1/walks", json=walk)
    assert job.status_code == 202, job.text
    assert finished(client, job.json()["id"])["state"] == "done"


def finished(client, job_id):
    with client.stream("GET", f"/api/v1/jobs/{job_id}/events") as events:
        return json.loads([line for line in events.iter_lines() if line.startswith("data:")][-1][5:])


def test_a_photograph_becomes_a_latent_whose_name_says_projected(serve):
    client = serve(with_discriminator(tiny_model()))
    began = client.post("/api/v1/projections?name=C:\\own\\beach%20day.jpg", content=photograph())
    assert began.status_code == 202, began.text
    told = finished(client, began.json()["id"])
    assert told["state"] == "done", told
    outcome = told["outcome"]
    assert (outcome["name"], outcome["resized"]) == ("beach day, projected", True)
    assert client.get(f"/picture?latent={outcome['latent']}").status_code == 200
    file = client.get(f"/api/v1/jobs/{told['id']}/file").content
    assert read_latents(file, "x").provenance.kind == "projection"
    assert [one["name"] for one in bring(serve(client.app.state.studio.model), file)] == ["beach day, projected"]


def test_pictures_pass_while_a_projector_is_built(serve, monkeypatch):
    import capriccio.studio.inverters as inverters

    asked, built, whole = threading.Event(), threading.Event(), inverters.Projector

    def slow(*args, **kwargs):
        kwargs["progress"](3, 7)
        asked.set()
        assert built.wait(30)
        return whole(*args, **kwargs)

    monkeypatch.setattr(inverters, "Projector", slow)
    client = serve(with_discriminator(tiny_model()), pool=0)
    job = client.post("/api/v1/projections", content=photograph()).json()["id"]
    assert asked.wait(10)
    assert client.get("/picture?seed=1234").status_code == 200
    end = time.monotonic() + 10
    while (told := client.get(f"/api/v1/jobs/{job}").json())["progress"].get("measured") != [3, 7]:
        assert time.monotonic() < end, told
        time.sleep(0.02)
    assert told["state"] == "running"
    built.set()
    assert finished(client, job)["state"] == "done"


def test_a_projected_latent_says_so_whatever_its_file_calls_it(serve, model):
    brought = bring(serve(), write_latents(latents(model, kind="projection", names=False)), "folder/two.npz")
    assert [one["name"] for one in brought] == ["two 0, projected", "two 1, projected"]


def test_latents_of_another_network_are_marked(serve, model):
    other = Latents(ws=torch.zeros(1, model.num_ws, model.w_dim), names=("a",),
                    provenance=Provenance(model_hash="other", licence="x"))  # fmt: skip
    assert bring(serve(), write_latents(other))[0]["foreign"] is True
    assert bring(serve(), write_latents(latents(model)))[0]["foreign"] is False


@pytest.mark.parametrize(("file", "reason"), [
    (b"", "empty"),
    (b"hello", "not a latents file"),
    (b"PK\x03\x04 no zip", "not a latents file"),
    ("rows", "num_ws"),
    ("many", "at most"),
    ("huge", "beyond"),
    ("nan", "not finite"),
    ("noise", "noise maps"),
    ("bomb", "unpacks to more"),
])  # fmt: skip
def test_files_that_cannot_be_used_are_refused_with_a_reason(serve, model, file, reason, monkeypatch):
    shape = (model.num_ws, model.w_dim)
    match file:
        case "rows":
            file = write_latents(Latents(ws=torch.zeros(1, 3, model.w_dim)))
        case "many":
            file = write_latents(Latents(ws=torch.zeros(65, *shape)))
        case "huge":
            file = write_latents(Latents(ws=torch.full((1, *shape), 1e9)))
        case "nan":
            arrays = io.BytesIO()
            np.savez(arrays, ws=np.full((1, *shape), np.nan, np.float32))
            file = arrays.getvalue()
        case "noise":
            file = write_latents(Latents(ws=torch.zeros(1, *shape), noise={"b4.conv1": torch.zeros(1, 5, 5)}))
        case "bomb":
            arrays = io.BytesIO()
            np.savez_compressed(arrays, ws=np.zeros((1, *shape), np.float32), other=np.zeros(2**25, np.float32))
            file = arrays.getvalue()
    answer = serve().post("/api/v1/latents?name=../../etc/mine.npz", content=file)
    assert answer.status_code == 422, answer.text
    assert reason in answer.json()["detail"]
    assert ".." not in answer.json()["detail"]


@pytest.mark.parametrize(("address", "status", "reason"), [
    ("/picture?latent=w000000000000000000000000", 404, "send it again"),
    ("/picture?latent=../../etc/passwd", 422, "latent"),
    ("/picture?seed=1&latent=w000000000000000000000000", 422, "either seed or latent"),
    ("/api/v1/edit?set=snow=1", 422, "either seed or latent"),
    ("/api/v1/mix?seed=1&mixed=2&mixed_latent=w000000000000000000000000", 422, "either mixed or mixed_latent"),
    ("/api/v1/latents/w000000000000000000000000", 404, "send it again"),
    ("/api/v1/latents/..%2f..%2fetc", 404, ""),
])  # fmt: skip
def test_latents_that_are_not_here(serve, address, status, reason):
    answer = serve().get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert reason in answer.json()["detail"]


def test_ten_thousand_recipes_at_once_are_refused(serve):
    answer = serve().post("/api/v1/latents/file", json={"recipes": [{"seed": i} for i in range(10_000)]})
    assert answer.status_code == 422
    assert "256" in answer.json()["detail"]


def test_a_kept_latent_holds_no_more_memory_than_its_own(model):
    many = Latents(ws=torch.randn(64, model.num_ws, model.w_dim), names=tuple(map(str, range(64))))
    for kept in Shelf(model).put(many):
        assert kept.latents.ws.untyped_storage().nbytes() == kept.latents.ws.nbytes


def test_the_shelf_is_bounded_and_names_are_cleaned(model):
    shelf = Shelf(model, max_bytes=20_000)
    ids = [shelf.put(Latents(ws=torch.full((1, model.num_ws, model.w_dim), float(i)), names=("a",)))[0].id
           for i in range(30)]  # fmt: skip
    there = [shelf.get(one) is not None for one in ids]
    assert there[-1]
    assert not there[0]
    assert called("a\n\x1b[31m  b\u202e" + "x" * 99, projected=True) == "a [31m b " + "x" * 51 + ", projected"
    assert called("beach, projected") == "beach, projected"
