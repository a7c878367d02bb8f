"""The wall: every reload another picture, a permalink the same, with and without JavaScript, keyboard and touch."""

from __future__ import annotations

import re

import pytest

from ..studio.process import Server
from .conftest import loaded, watched

pytestmark = pytest.mark.slow


def shown(page):
    page.wait_for_function("() => document.getElementById('picture')?.naturalWidth > 0")
    return int(re.search(r"seed=(\d+)", page.locator("#picture").get_attribute("src"))[1])


def test_reload_changes_the_picture_and_the_permalink_keeps_it(page, server):
    page.goto(server.url)
    first = shown(page)
    page.reload()
    assert shown(page) != first
    page.goto(server.url)
    kept = shown(page)
    page.locator("#permalink").click()
    assert shown(page) == kept
    page.reload()
    assert shown(page) == kept


def test_space_and_arrows(page, server):
    page.goto(server.url)
    first = shown(page)
    page.keyboard.press(" ")
    page.wait_for_function(f"() => !document.getElementById('picture').src.includes('seed={first}&')")
    second = shown(page)
    assert f"seed={second}" in page.url
    page.keyboard.press("ArrowLeft")
    assert shown(page) == first
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => document.getElementById('picture').src.includes('seed={second}&')")


def test_pressing_the_picture_brings_another(page, server, screen):
    page.goto(server.url)
    first = shown(page)
    page.locator("#frame").tap() if screen.get("has_touch") else page.locator("#frame").click()
    page.wait_for_function(f"() => !document.getElementById('picture').src.includes('seed={first}&')")


def test_without_scripts(chromium, server, screen):
    with watched(chromium, server, **screen, java_script_enabled=False) as page:
        page.goto(server.url)
        first = page.locator("#picture").get_attribute("src")
        page.locator("#another").click()
        assert page.locator("#picture").get_attribute("src") != first


def test_one_request_and_one_image_of_less_than_100_kb(page, server):
    asked, sizes = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: sizes.append(len(answer.body())))
    page.add_init_script("addEventListener('load', event => event.stopImmediatePropagation(), true)")
    page.goto(server.url)
    shown(page)
    pictures = {url for url in asked if "/picture" in url}
    others = [url for url in asked if "/picture" not in url and "favicon" not in url]
    assert (len(pictures), len(others)) == (1, 1)
    assert sum(sizes[:2]) < 100_000


def test_the_card_and_the_download(page, server):
    page.goto(f"{server.url}/?seed=42")
    page.locator("summary").click()
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "seed0042.png"
    from capriccio.provenance import read_provenance

    assert read_provenance(download.value.path()).seed == 42


def test_a_server_with_a_key_asks_for_it_and_then_shows_everything(chromium, runs, screen):
    server = Server(runs, key="open sesame")
    try:
        with watched(chromium, server, **screen) as page:
            page.forgiven.append("401")
            page.goto(server.url)
            page.get_by_text("asks for a key").wait_for()
            page.goto(f"{server.url}/studio#/mix?rows=1&cols=3")
            page.get_by_label("Key").fill("wrong")
            page.get_by_role("button", name="Enter").click()
            page.get_by_text("That is not the key.").wait_for()
            page.get_by_label("Key").fill("open sesame")
            page.get_by_label("Key").press("Enter")
            loaded(page, ".mixing img", 3)
            page.goto(server.url)
            shown(page)
    finally:
        server.stop()
