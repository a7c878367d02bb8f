"""What stands before the routes: headers, the key, sizes, measures."""

from __future__ import annotations

import asyncio
import tempfile
import threading

import pytest

from capriccio.cli.serve import _hosts
from capriccio.errors import UsageError
from capriccio.studio.guard import Guard
from capriccio.studio.measures import Measures
from capriccio.studio.settings import StudioSettings


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


def through(scope, received, **settings):
    """Send one request through a guard to an application that reads the whole body; return the answer's status."""
    sent = []

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def run():
        from starlette.exceptions import HTTPException

        guard = Guard(app, StudioSettings(access_log=False, **settings), Measures())
        guard._uploads = scope.get("others", 0)

        async def send(message):
            sent.append(message.get("status"))

        try:
            await guard({"type": "http", "method": "POST", "path": "/api/v1/detections", **scope}, received, send)
        except HTTPException as error:
            sent.append(error.status_code)
        return guard._uploads

    left = asyncio.run(run())
    assert left == scope.get("others", 0)  # whatever happened, the place is free again
    return sent[0]


def test_a_body_that_never_comes_gives_up_its_place():
    async def silence():
        await asyncio.sleep(60)

    scope = {"headers": [(b"transfer-encoding", b"chunked")]}
    assert through(scope, silence, upload_timeout=0.05) == 408


def test_large_bodies_take_turns_and_small_ones_need_no_place():
    async def whole():
        return {"type": "http.request", "body": b"x", "more_body": False}

    large, small = ({"headers": [(b"content-length", size)], "others": 2} for size in (b"1000000", b"100"))
    assert through(large, whole, uploads=2) == 429
    assert through(large, whole, uploads=3) == 200
    assert through(small, whole, uploads=2) == 200


def test_uploads_never_touch_the_disk(serve, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a file was opened for an upload")

    client = serve()
    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert client.post("/api/v1/detections", content=b"<html>" * 500_000).status_code == 422
    assert client.post("/api/v1/latents", content=b"PK" * 1_000_000).status_code == 422


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


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_pages_of_other_sites_may_not_begin_or_end_anything(serve, method):
    client = serve()
    for site, code in (("cross-site", 403), ("same-origin", 404), (None, 404)):
        headers = {} if site is None else {"Sec-Fetch-Site": site}
        assert client.request(method, "/api/v1/nowhere", headers=headers).status_code == code
    assert client.get("/api/v1/model", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_films_and_files_are_bounded_by_their_size(serve, monkeypatch):
    client = serve()
    monkeypatch.setattr("capriccio.studio.painting.MAX_SIDE", 20)
    walk = client.post("/api/v1/walks", json={"keys": [1, 2], "scale": 4})
    assert (walk.status_code, "scale must lie in 1..1" in walk.json()["detail"]) == (422, True)
    monkeypatch.setattr("capriccio.studio.latents.MAX_FILE_BYTES", 10_000)
    file = client.post("/api/v1/latents/file", json={"recipes": [{"seed": seed} for seed in range(40)]})
    assert (file.status_code, "at most" in file.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("host", "code"),
    [("127.0.0.1:8000", 200), ("localhost:8000", 200), ("capriccio.localhost", 200), ("[::1]:8000", 200),
     ("[::1]", 200), ("Pictures.example.org", 200), ("pictures.example.org:8000", 200), ("evil.example.org", 421),
     ("127.0.0.1.nip.io", 421), ("localhost.evil.org:8000", 421), ("user@127.0.0.1@evil.org", 421), ("[::1", 421),
     (":8000", 421)],
)  # fmt: skip
def test_names_the_server_does_not_go_by_are_turned_away(serve, host, code):
    client = serve(hosts=("pictures.example.org",))
    assert client.get("/api/v1/model", headers={"Host": host}).status_code == code
    assert client.get("/healthz", headers={"Host": host}).status_code == 200  # asked for by programs that watch


@pytest.mark.parametrize(
    ("names", "host", "key", "hosts"),
    [(None, "127.0.0.1", "", ()), (None, "::1", "", ()), (None, "127.0.0.1", "secret", None),
     (None, "0.0.0.0", "", None), ("*", "127.0.0.1", "", None),
     ("a.example.org, B.example.org", "127.0.0.1", "", ("a.example.org", "b.example.org", "127.0.0.1"))],
)  # fmt: skip
def test_which_names_a_server_goes_by(monkeypatch, names, host, key, hosts):
    monkeypatch.setenv("CAPRICCIO_API_KEY", key)
    assert _hosts(names, host) == hosts


def test_an_address_is_no_name_of_a_host():
    with pytest.raises(UsageError, match=r"--allowed-hosts: 'http://a.example.org/' is no name"):
        _hosts("http://a.example.org/", "127.0.0.1")


def test_with_a_file_of_jobs_latents_are_looked_up_beside_the_event_loop(serve, tmp_path, monkeypatch):
    client = serve(jobs=tmp_path / "jobs.sqlite")
    (kept,) = client.post("/api/v1/latents/made", json={"recipes": [{"seed": 1}]}).json()["latents"]
    shelf = client.app.state.studio.shelf
    found, threads = shelf.get, []

    def get(latent_id):
        threads.append(threading.current_thread())
        return found(latent_id)

    monkeypatch.setattr(shelf, "get", get)
    loop = client.portal.call(threading.current_thread)
    picture = client.get(f"/picture?latent={kept['id']}")
    mixed = client.get(f"/api/v1/mix?seed=1&mixed_latent={kept['id']}")
    file = client.get(f"/api/v1/latents/{kept['id']}")
    film = client.post("/api/v1/walks", json={"keys": [1, kept["id"]], "seconds_per_key": 0.5, "frames_per_second": 8})
    assert [answer.status_code for answer in (picture, mixed, file, film)] == [200, 200, 200, 202]
    assert len(threads) == 4
    assert loop not in threads
