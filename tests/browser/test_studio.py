"""The studio: each table's main path, the keyboard alone, errors where they arose, a server that goes and comes."""

from __future__ import annotations

import re
import signal

import pytest

pytestmark = pytest.mark.slow

TABLES = ["generate", "mix", "edit", "walk", "detect", "runs", "runs/mine"]


def loaded(page, locator, count=1):
    page.wait_for_function(
        "([where, count]) => [...document.querySelectorAll(where)].filter(i => i.naturalWidth > 0).length >= count",
        arg=[locator, count],
    )


def test_the_gallery_goes_on_and_holds_what_is_pinned(page, server):
    page.goto(f"{server.url}/studio#/generate?from=100")
    loaded(page, ".grid img", 4)
    before = page.locator(".grid .picture").count()
    page.locator(".grid + p").scroll_into_view_if_needed()
    page.wait_for_function(f"() => document.querySelectorAll('.grid .picture').length > {before}")
    page.locator(".grid .pin").first.click(force=True)
    assert page.locator("#tray .picture").count() == 1
    page.reload()
    loaded(page, "#tray img")
    assert "from=100" in page.url


def test_a_picture_opens_large_with_its_truncation_strip(page, server):
    page.goto(f"{server.url}/studio#/generate?from=7")
    page.get_by_role("button", name="Open № 7").click()
    loaded(page, "#large img")
    assert "№ 7" in page.locator("#large").inner_text()
    page.keyboard.press("Escape")
    assert page.locator(".strip figure").count() == 9
    assert "seed=7" in page.url


def test_the_mixing_table_fills_and_layers_change_it(page, server):
    page.goto(f"{server.url}/studio#/mix?rows=1,2&cols=3,4")
    loaded(page, ".mixing img", 4)
    assert page.locator(".mixing .picture").count() == 8
    cell = page.locator(".mixing .picture:not(.source) img").first
    coarse = cell.get_attribute("src")
    page.get_by_role("button", name="fine").click()
    assert "layers=fine" in page.url
    assert cell.get_attribute("src") != coarse
    page.get_by_role("button", name="Row 0, 4 pixels").press("Enter")
    assert re.search(r"layers=0,", page.url)
    page.get_by_role("button", name="One more: Top").click()
    assert page.locator(".mixing .picture").count() == 11


def test_a_direction_changes_the_picture_and_the_address(page, server):
    page.goto(f"{server.url}/studio#/edit?seed=104")
    loaded(page, ".halves img", 2)
    page.locator("#d-snow").fill("3")
    page.wait_for_function("() => document.querySelector('.halves .after').src.includes('set=snow')")
    loaded(page, ".halves img", 2)
    assert "snow" in page.url
    page.reload()
    loaded(page, ".halves img", 2)
    assert page.locator("#d-snow").input_value() == "3"
    page.locator("#d-snow").dblclick()
    page.wait_for_function("() => !document.querySelector('.halves .after').src.includes('set=')")


def test_a_walk_is_previewed(page, server):
    page.goto(f"{server.url}/studio#/walk?keys=1,2")
    page.get_by_label("Pace").select_option("0.75")
    page.get_by_role("button", name="Preview").click()
    loaded(page, ".stage img")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download walk.webp").click()
    assert download.value.suggested_filename == "walk.webp"


def test_a_picture_is_reconstructed_and_judged(page, server):
    import urllib.request

    made = urllib.request.urlopen(f"{server.url}/picture?seed=5&format=png").read()
    page.goto(f"{server.url}/studio#/detect")
    page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": made})
    loaded(page, ".trio img")
    page.locator(".verdict").wait_for(timeout=120_000)
    loaded(page, ".trio img", 3)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the report").click()
    assert download.value.suggested_filename == "detection.json"


def test_a_detection_is_cancelled_and_a_wrong_file_explained(page, server):
    import urllib.request

    page.forgiven.append("422")
    made = urllib.request.urlopen(f"{server.url}/picture?seed=5&format=png").read()
    page.goto(f"{server.url}/studio#/detect")
    page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": made})
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    page.locator("#file").set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"<html><p>no</html>"})
    page.locator("main .error").wait_for()
    assert "The picture" in page.locator("main .error").inner_text()


def test_a_long_walk_is_cancelled(page, server):
    page.goto(f"{server.url}/studio#/walk?keys={','.join(map(str, range(20)))}")
    page.get_by_label("Pace").select_option("3")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()


def test_what_is_refused_is_said_beside_it(page, server):
    page.forgiven.append("422")
    page.goto(f"{server.url}/studio#/walk?keys={','.join(map(str, range(24)))}")
    page.get_by_label("Pace").select_option("3")
    page.get_by_role("button", name="Export").click()
    page.locator(".stage .error").wait_for()
    assert "frames" in page.locator(".stage .error").inner_text()


def test_runs_have_curves_sheets_and_a_doctor(page, server):
    page.goto(f"{server.url}/studio#/runs")
    page.get_by_role("link", name="mine").click()
    page.locator(".plot > svg path.c0").first.wait_for()
    loaded(page, ".sheet")
    assert "2 kimg" in page.locator("main").inner_text()
    page.locator("#time").press("ArrowLeft")
    assert "fakes-000001" in page.locator(".sheet").get_attribute("src")


def test_keys_alone(page, server):
    page.goto(f"{server.url}/studio")
    page.locator(".grid .picture").first.wait_for()
    page.keyboard.press("2")
    page.get_by_role("heading", name="Mix").wait_for()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.get_by_role("heading", name="Generate").wait_for()
    page.locator(".grid .face").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#large").is_visible()


def test_a_server_that_goes_and_comes(page, server):
    page.forgiven += ["Failed to load resource", "ERR_CONNECTION"]
    page.goto(f"{server.url}/studio#/generate?from=1")
    loaded(page, ".grid img", 4)
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    page.get_by_role("button", name="Others").click()
    page.get_by_text("The server does not answer").wait_for()
    server.start()
    page.get_by_text("The server is back").wait_for()
    loaded(page, ".grid img", 4)


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_wider_than_the_screen(page, server, table):
    page.goto(f"{server.url}/studio#/{table}")
    page.locator("main h1").wait_for()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("address", ["/", "/api/v1/docs", *(f"/studio#/{table}" for table in TABLES)])
def test_accessible(page, server, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.goto(server.url + address)
    page.wait_for_load_state("networkidle")
    found = axe.Axe().run(page).response["violations"]
    grave = [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in found
             if v["impact"] in ("serious", "critical")]  # fmt: skip
    assert grave == []
