"""Servers that go and come under an open page: it says so, loses nothing, and goes on by itself."""

from __future__ import annotations

import signal

import pytest

from ..studio.process import Server
from .conftest import loaded, photograph, watched

pytestmark = pytest.mark.slow


@pytest.fixture
def screen():
    return {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture
def quiet(page):
    page.set_default_timeout(180_000)  # servers start slowly where other work wants the processor too
    page.forgiven += ["Failed to load resource", "ERR_CONNECTION", "ERR_INCOMPLETE_CHUNKED_ENCODING"]
    return page


def test_a_gallery_recovers(quiet, server):
    quiet.goto(f"{server.url}/studio#/generate?from=1")
    loaded(quiet, ".grid img", 4)
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    quiet.get_by_role("button", name="Others").click()
    quiet.get_by_text("The server does not answer").wait_for()
    server.start()
    quiet.get_by_text("The server is back").wait_for()
    loaded(quiet, ".grid img", 4)


def test_the_wall_recovers(quiet, server):
    quiet.goto(f"{server.url}/?seed=1")
    loaded(quiet, "#picture")
    quiet.wait_for_load_state("networkidle")
    server.stop(signal.SIGKILL)
    quiet.keyboard.press(" ")
    quiet.keyboard.press(" ")
    quiet.get_by_text("The server does not answer").wait_for()
    server.start()
    quiet.wait_for_function("() => document.getElementById('trouble').hidden")


def test_a_film_that_was_lost_says_so_and_can_be_begun_again(quiet, server):
    quiet.goto(f"{server.url}/studio#/walk?keys={','.join(map(str, range(16)))}")
    quiet.get_by_label("Pace").select_option("3")
    quiet.get_by_role("button", name="Preview").click()
    quiet.locator("progress[value]").wait_for()
    server.stop(signal.SIGKILL)
    quiet.get_by_text("The server does not answer").wait_for()
    server.start()
    quiet.get_by_text("The server stopped in the middle of this").wait_for()
    quiet.get_by_label("Pace").select_option("0.75")
    quiet.goto(f"{server.url}/studio#/walk?keys=1,2")
    quiet.get_by_role("button", name="Preview").click()
    loaded(quiet, ".stage img")


def test_latents_are_sent_again_to_a_server_that_forgot_them(quiet, server):
    quiet.goto(f"{server.url}/studio#/mix?rows=1&cols=3")
    quiet.get_by_role("button", name="One more on the left").click()
    quiet.locator("#own").set_input_files({"name": "beach.jpg", "mimeType": "image/jpeg", "buffer": photograph()})
    quiet.locator(".mixing .source .caption").wait_for(timeout=180_000)
    loaded(quiet, ".mixing img", 5)
    server.stop(signal.SIGTERM)
    server.start()
    quiet.reload()
    loaded(quiet, ".mixing img", 5)
    assert quiet.locator(".mixing .failed").count() == 0


def test_with_a_file_of_jobs_a_finished_film_outlives_the_server(chromium, runs, tmp_path):
    server = Server(runs, "--jobs", str(tmp_path / "jobs.sqlite"))
    try:
        with watched(chromium, server) as page:
            page.set_default_timeout(180_000)
            page.goto(f"{server.url}/studio#/walk?keys=1,2")
            page.get_by_label("Pace").select_option("0.75")
            page.get_by_role("button", name="Preview").click()
            loaded(page, ".stage img")
            address = page.locator(".stage img").get_attribute("src")
            server.stop(signal.SIGKILL)
            server.start()
            assert page.request.get(server.url + address).headers["content-type"] == "image/webp"
    finally:
        server.stop()
