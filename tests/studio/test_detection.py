"""Uploads: what is not a picture, or not one that can be used, is refused before it costs anything."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from capriccio.loading.model import Model
from capriccio.provenance import read_provenance
from capriccio.studio.watching import Watched
from tests.loading.test_model import snapshot


def png(size):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def bomb():
    """A PNG that states 60,000 × 60,000 pixels and is a few hundred bytes long."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("name", "data", "reason"), [
    ("bomb.png", bomb(), "pixels than the limit"),
    ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "picture"),
    ("page.jpg", b"<!doctype html><html><p>hello</p></html>", "The file is not a picture"),
    ("empty.png", b"", "empty"),
    ("half.png", png((32, 32))[:200], "The file cannot be decoded"),
    ("tiny.png", png((2, 2)), "too small"),
    ("../../etc/passwd", b"root:x:0:0", "picture"),
    ("ribbon.png", png((16, 400)), "aspect"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused_with_a_reason(serve, name, data, reason):
    client = serve()
    answer = client.post(f"/api/v1/detections?name={name}", content=data)
    assert answer.status_code == 422, answer.text
    assert reason in answer.json()["detail"]
    assert client.get("/picture?seed=1").status_code == 200


def test_a_form_is_told_how_to_send_the_file(serve):
    answer = serve().post("/api/v1/detections", files={"file": ("../../etc/passwd", png((16, 16)))})
    assert answer.status_code == 422
    assert "curl --data-binary @FILE" in answer.json()["detail"]


def test_a_body_nested_without_end_is_refused(serve):
    answer = serve().post("/api/v1/walks", content="[" * 100_000, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is not JSON that can be read.")


def test_too_large_a_file_is_refused(serve):
    client = serve(max_upload_bytes=10_000)
    assert client.post("/api/v1/detections", content=b"x" * 20_000).status_code == 413


def test_a_model_without_a_discriminator_says_so(serve):
    client = serve()
    job = client.post("/api/v1/detections", content=png((16, 16))).json()
    with client.stream("GET", f"/api/v1/jobs/{job['id']}/events") as events:
        last = [line for line in events.iter_lines() if line.startswith("data:")][-1]
    assert '"state": "failed"' in last
    assert "discriminator" in last


def test_a_picture_that_is_sent_back_does_not_say_that_the_model_made_it():
    model = Model(snapshot())
    images = model.images(model.ws(seeds=[1]))
    watched = Watched(model, images, lambda told: None)
    watched.show(images)
    records = {
        name: read_provenance(Image.open(io.BytesIO(base64.b64decode(watched.shown[name])))) for name in watched.shown
    }
    assert records["given"] is None
    assert records["image"].model_hash == model.model_hash
