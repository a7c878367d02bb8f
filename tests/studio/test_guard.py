"""What stands before the routes: headers, the key, sizes, measures."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("address", ["/", "/studio", "/picture?seed=1", "/nowhere", "/api/v1/model", "/metrics"])
def test_every_answer_has_the_headers(serve, address):
    headers = serve().get(address).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


def test_the_key_guards_pictures_and_the_api(serve):
    client = serve(api_key="open sesame")
    assert client.get("/healthz").status_code == 200
    assert client.get("/studio").status_code == 200
    for address in ("/picture?seed=1", "/api/v1/model", "/metrics"):
        refused = client.get(address)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert client.get("/api/v1/model", headers={"Authorization": "Bearer open sesame"}).status_code == 200
    assert client.get("/api/v1/model", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.post("/api/v1/key", json={"key": "wrong"}).status_code == 401
    assert client.post("/api/v1/key", json={"key": "open sesame"}).status_code == 204
    assert client.get("/picture?seed=1").status_code == 200


def test_large_bodies_are_refused_before_they_are_read(serve):
    client = serve(max_upload_bytes=1000)
    stated = client.post("/api/v1/walks", content=b"{}", headers={"Content-Length": str(2 * 2**30)})
    assert stated.status_code == 413
    streamed = client.post("/api/v1/walks", content=(b"x" * 100 for _ in range(100)))
    assert streamed.status_code == 413
    assert "larger" in streamed.json()["detail"]


def test_measures_count_routes_not_addresses(serve):
    client = serve()
    client.get("/picture?seed=1")
    client.get("/nowhere/secret-word")
    page = client.get("/metrics").text
    assert 'capriccio_answers_total{route="/picture",status="200"} 1' in page
    assert "secret-word" not in page
    assert "capriccio_pictures_painted_total" in page


def test_ready_and_healthy(serve):
    client = serve()
    client.get("/picture?seed=1")
    assert (client.get("/healthz").text, client.get("/readyz").text) == ("ok\n", "ready\n")


def test_a_film_is_made_told_and_fetched(serve):
    client = serve()
    job = client.post("/api/v1/walks", json={"keys": [1, 2], "seconds_per_key": 0.5, "frames_per_second": 8}).json()
    with client.stream("GET", f"/api/v1/jobs/{job['id']}/events") as events:
        told = [line for line in events.iter_lines() if line.startswith("data:")]
    assert '"state": "done"' in told[-1]
    film = client.get(f"/api/v1/jobs/{job['id']}/file")
    assert (film.headers["content-type"], film.content[8:12]) == ("image/webp", b"WEBP")
    assert client.get("/api/v1/jobs/unknown").status_code == 404
