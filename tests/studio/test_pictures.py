"""Pictures over HTTP: the same as the command line's, cached by request, refused with a reason."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from capriccio.latent.directions import Direction, Directions, move
from capriccio.provenance import read_provenance
from capriccio.rendering.generate import GenerateRequest, generate
from capriccio.rendering.grids import to_uint8
from capriccio.rendering.look import Look
from capriccio.rendering.mix import MixRequest, mix_cells
from capriccio.rendering.pictures import encode_picture
from capriccio.rendering.sources import open_source

from .conftest import tiny_model


def pixels(answer):
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)


@pytest.mark.parametrize("media", ["image/png", "image/webp"])
def test_a_seed_is_the_picture_of_the_command_line(serve, model, media):
    request = GenerateRequest(source=[7], look=Look(truncation_psi=0.5, noise_mode="random"))
    made = next(generate(model, request))
    file = encode_picture(made.image, media.removeprefix("image/"), made.provenance)
    expected = np.asarray(Image.open(io.BytesIO(file))).astype(int)
    answer = serve().get("/picture?seed=7&psi=0.5&noise=random", headers={"Accept": media})
    assert answer.headers["content-type"] == media
    assert np.abs(pixels(answer) - expected).max() <= 1


def test_a_mixed_cell_is_that_of_the_command_line(serve, model):
    request = MixRequest(rows=[1], columns=[2], layers="fine" if model.num_ws > 7 else "middle",
                         look=Look(truncation_psi=0.7))  # fmt: skip
    expected = np.asarray(next(mix_cells(model, request)).image).astype(int)
    answer = serve().get(f"/api/v1/mix?seed=1&mixed=2&layers={request.layers}&psi=0.7")
    assert np.abs(pixels(answer) - expected).max() <= 1
    assert np.abs(pixels(serve().get("/picture?seed=1&psi=0.7")) - expected).max() > 1


def test_an_edited_picture_is_that_of_the_command_line(serve, model, monkeypatch):
    snow = Direction(name="snow", vector=torch.linspace(-1, 1, model.w_dim), rows=(0, 1, 2), unit="one")
    directions = Directions(model_hash=model.model_hash, num_ws=model.num_ws, listed=(snow,))
    monkeypatch.setattr("capriccio.studio.service.load_directions", lambda network: directions)
    source = open_source(model, [4], Look(truncation_psi=0.7))
    ws = move(source.ws(0, 1), snow, 2.5, "middle")
    expected = to_uint8(model.images(ws))[0].astype(int)
    client = serve()
    answer = client.get("/api/v1/edit?seed=4&psi=0.7&set=snow=2.5@middle")
    assert np.abs(pixels(answer) - expected).max() <= 1
    assert np.abs(pixels(client.get("/picture?seed=4&psi=0.7")) - expected).max() > 1
    assert read_provenance(Image.open(io.BytesIO(answer.content))).edits == ("snow +2.5 (middle)",)
    assert np.abs(pixels(client.get("/api/v1/edit?seed=4&psi=0.7&set=snow=%2b25e-1@middle")) - expected).max() <= 1
    for wrong in ("rain=1", "snow=999999", "snow=1@nowhere", "snow=1@99"):
        assert client.get(f"/api/v1/edit?seed=4&set={wrong}").status_code == 422


def test_a_picture_carries_what_made_it(serve, model):
    record = read_provenance(Image.open(io.BytesIO(serve().get("/picture?seed=3&psi=0.6").content)))
    assert (record.seed, record.truncation_psi, record.model_hash) == (3, 0.6, model.model_hash)


def test_random_pictures_differ_and_are_not_kept(serve):
    client = serve()
    answers = [client.get("/picture", headers={"Accept": "image/webp"}) for _ in range(6)]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert all("etag" not in answer.headers for answer in answers)
    assert len({answer.headers["x-capriccio-seed"] for answer in answers}) == 6
    permalink = client.get(answers[0].headers["content-location"], headers={"Accept": "image/webp"})
    assert np.abs(pixels(permalink) - pixels(answers[0])).max() <= 1


def test_tags_come_from_the_request(serve):
    client = serve()
    first = client.get("/picture?seed=5")
    again = client.get("/picture?seed=5", headers={"If-None-Match": first.headers["etag"]})
    other = client.get("/picture?seed=5&psi=0.2", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, other.status_code) == (304, b"", 200)
    assert "max-age" in first.headers["cache-control"]
    assert first.headers["vary"] == "Accept"


def test_a_conditional_network_has_classes(serve):
    client = serve(tiny_model(c_dim=3))
    first, second = (pixels(client.get(f"/picture?seed=1&class={c}")) for c in (0, 2))
    assert np.abs(first - second).max() > 1
    assert client.get("/picture?seed=1&class=3").status_code == 422
    assert np.abs(pixels(client.get("/picture?seed=1")) - first).max() <= 1  # the first class, where none is named


def test_enlarged_and_downloaded(serve):
    answer = serve().get("/picture?seed=1&scale=4&format=avif&download=true")
    assert pixels(answer).shape == (64, 64, 3)
    assert answer.headers["content-disposition"] == 'attachment; filename="seed0001.avif"'


@pytest.mark.parametrize(("address", "status", "reason"), [
    ("/picture?seed=1&psi=NaN", 422, "psi"),
    ("/picture?seed=1&psi=inf", 422, "psi"),
    ("/picture?seed=1e99", 422, "seed"),
    ("/picture?seed=-1", 422, "seed"),
    ("/picture?seed=4294967296", 422, "seed"),
    ("/picture?seed=1&scale=-1", 422, "scale"),
    ("/picture?seed=1&scale=99999999999999999999", 422, "scale"),
    ("/picture?seed=1&class=2", 422, "no classes"),
    ("/picture?seed=1&cutoff=99", 422, "cutoff"),
    ("/picture?seed=1&model=other", 404, "tiny"),
    ("/picture?seed=1&format=gif", 422, "format"),
    ("/picture?seed=1&seeds=2", 422, "seeds"),
    ("/picture?noise=loud", 422, "noise"),
    ("/picture?" + "&".join(f"seed={i}" for i in range(3000)), 422, "seed: is there more than once"),
    ("/api/v1/mix?seed=1&mixed=2&layers=../../etc/passwd", 422, "layers|rows"),
    ("/api/v1/mix?seed=1&mixed=2&layers=0-999999999", 422, "row"),
    ("/api/v1/mix?seed=1", 422, "mixed"),
    ("/api/v1/edit?seed=1&set=snow", 422, "snow=2"),
    ("/api/v1/edit?seed=1&set=snow=NaN", 422, "must lie in -100..100"),
    ("/api/v1/edit?seed=1&set=snow=1", 422, "no editing directions"),
    ("/api/v1/edit?seed=1&set=../x=1", 422, "no change"),
    ("/?seed=%3Cscript%3E", 422, "seed"),
    ("/static/../app.py", 404, "nothing"),
    ("/static/%2e%2e/app.py", 404, "nothing"),
    ("/api/v1/jobs/..%2f..%2fetc", 404, ""),
    ("/api/v1/runs/..%2f..%2fetc", 404, ""),
    ("/api/v1/runs/..", 404, ""),
    ("/nowhere", 404, "nothing"),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_a_reason(serve, address, status, reason):
    answer = serve().get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert re.search(reason, answer.json()["detail"]), answer.json()
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("walk", "reason"), [
    ({"keys": list(range(10_000))}, "keys"),
    ({"keys": [1]}, "keys"),
    ({"keys": [1, 2**32]}, "keys.1: is a seed 0..4294967295, or the id of a latent"),
    ({"keys": [1, "../../etc"]}, "keys.1: is a seed"),
    ({"keys": [True, False]}, "keys.0: is a seed"),
    ({"keys": [1, "w" + "0" * 24]}, "not here"),
    ({"keys": [1, 2], "seconds_per_key": -1}, "seconds"),
    ({"keys": list(range(24)), "seconds_per_key": 10, "frames_per_second": 60}, "frames"),
    ({"keys": [1, 2], "format": "../x"}, "format"),
    ({"keys": [1, 2], "class": 1}, "no classes"),
])  # fmt: skip
def test_films_that_cannot_be(serve, walk, reason):
    answer = serve().post("/api/v1/walks", json=walk)
    assert answer.status_code == (404 if reason == "not here" else 422)
    assert reason in answer.json()["detail"]


def test_the_wall_is_one_page_under_a_strict_policy(serve):
    answer = serve().get("/")
    policy = answer.headers["content-security-policy"]
    assert "'unsafe" not in policy
    assert "script-src 'sha256-" in policy
    assert len(answer.content) < 20_000
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"(src|href)=\"(https?:)?//", answer.text)
    seed = re.search(r'data-seed="(\d+)"', answer.text)[1]
    assert f'data-seed="{seed}"' not in serve().get("/").text
    assert 'data-seed="12"' in serve().get("/?seed=12").text
