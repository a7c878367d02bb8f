"""What people bring: photographs and latents files in Mix, Edit and Walk, pictures to be judged in Detect."""

from __future__ import annotations

import urllib.request

import pytest

from capriccio.latent.files import load_latents

from .conftest import loaded, photograph

pytestmark = pytest.mark.slow

PATIENCE = 180_000
"""Milliseconds that a projection may take on a busy machine."""


def jpeg(name="beach.jpg"):
    return {"name": name, "mimeType": "image/jpeg", "buffer": photograph()}


def made(server, seed):
    file = urllib.request.urlopen(f"{server.url}/picture?seed={seed}&format=png").read()
    return {"name": "made.png", "mimeType": "image/png", "buffer": file}


def test_a_photograph_becomes_a_row_that_says_projected(page, server):
    page.goto(f"{server.url}/studio#/mix?rows=1&cols=3,4")
    page.get_by_role("button", name="One more on the left").click()
    page.locator("#own").set_input_files(jpeg())
    loaded(page, ".pair img")
    page.locator(".mixing .source .caption").wait_for(timeout=PATIENCE)
    assert page.locator(".mixing .source .caption").inner_text() == "beach, projected"
    loaded(page, ".mixing img", 3)
    assert page.locator(".mixing .picture").count() == 2 + 2 + 4
    page.get_by_role("button", name="Open beach, projected with coarse of № 3").click()
    loaded(page, "#large img")
    page.get_by_role("button", name="Pin", exact=True).click()
    page.keyboard.press("Escape")
    kept = page.url
    page.reload()
    loaded(page, ".mixing .source:has(.caption) img")
    assert page.url == kept


def test_a_photograph_dropped_on_a_source_takes_its_place(page, server):
    page.goto(f"{server.url}/studio#/mix?rows=1&cols=3")
    loaded(page, ".mixing img", 2)
    page.evaluate(
        """bytes => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([new Uint8Array(bytes)], "ridge.jpg", {type: "image/jpeg"}));
      const source = document.querySelector(".mixing .source");
      for (const kind of ["dragover", "drop"]) {
        source.dispatchEvent(new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true}));
      }
    }""",
        list(photograph((200, 120, 90))),
    )
    page.locator(".mixing .source .caption").wait_for(timeout=PATIENCE)
    assert page.locator(".mixing .source").count() == 2
    assert "rows=1" in page.url
    assert "cols=w" in page.url


def test_the_tray_goes_home_and_comes_back_as_latents(page, server, tmp_path):
    page.goto(f"{server.url}/studio#/mix?rows=1&cols=3&layers=fine")
    loaded(page, ".mixing img", 3)
    page.get_by_role("button", name="Open № 1 with fine of № 3").click()
    page.locator("#large").get_by_role("button", name="Pin", exact=True).click()
    page.locator("#large").get_by_role("button", name="Close").click()
    page.get_by_label("Pin № 1", exact=True).dispatch_event("click")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save latents").click()
    assert download.value.suggested_filename == "capriccio-tray.safetensors"
    path = tmp_path / "tray.safetensors"
    download.value.save_as(path)
    assert load_latents(path).names == ("seed 1 with fine of seed 3", "seed 1")
    page.get_by_role("button", name="Empty").click()
    assert page.locator("#tray .picture").count() == 0
    page.locator("#latents-file").set_input_files(path)
    loaded(page, "#tray img", 2)
    page.goto(f"{server.url}/studio#/walk?keys=1,2")
    page.get_by_role("button", name="From the tray").click()
    page.get_by_role("button", name="Change seed 1 with fine of seed 3, key 1").wait_for()
    page.get_by_label("Pace").select_option("0.75")
    page.get_by_role("button", name="Preview").click()
    loaded(page, ".stage img")


def test_a_latents_file_fills_a_side_of_the_table(page, server, tmp_path):
    import json

    recipes = {"recipes": [{"seed": 8}, {"seed": 9}], "format": "npz"}
    asked = urllib.request.Request(
        f"{server.url}/api/v1/latents/file", json.dumps(recipes).encode(), {"Content-Type": "application/json"}
    )
    page.goto(f"{server.url}/studio#/mix?rows=1&cols=3")
    page.get_by_role("button", name="One more on the top").click()
    page.locator("#own").set_input_files(
        {"name": "two.npz", "mimeType": "application/zip", "buffer": urllib.request.urlopen(asked).read()}
    )
    page.get_by_role("button", name="Change seed 9, top").wait_for()
    assert page.locator(".mixing .source").count() == 4


def test_files_that_cannot_be_used_are_explained_where_they_were_brought(page, server):
    page.forgiven.append("422")
    page.goto(f"{server.url}/studio#/mix?rows=1&cols=3")
    for name, reason in (("page.jpg", "The file is not a picture"), ("mine.npz", "not a latents file")):
        page.get_by_role("button", name="One more on the left").click()
        page.locator("#own").set_input_files({"name": name, "mimeType": "image/jpeg", "buffer": b"<html><p>no</html>"})
        page.locator(".arrivals .error").wait_for()
        assert reason in page.locator(".arrivals .error").inner_text()
        page.locator(".arrivals").get_by_role("button", name="Close").click()
        assert page.locator(".arrivals .error").count() == 0
    page.locator("#latents-file").set_input_files(
        {"name": "mine.npz", "mimeType": "application/zip", "buffer": b"PK nothing"}
    )
    page.locator("#tray .error", has_text="not a latents file").wait_for()


def test_a_photograph_is_edited(page, server):
    page.goto(f"{server.url}/studio#/edit?of=104")
    page.get_by_role("button", name="Choose").click()
    page.locator("#own").set_input_files(jpeg())
    page.get_by_role("heading", name="beach, projected").wait_for(timeout=PATIENCE)
    page.locator("#d-snow").fill("2")
    page.wait_for_function("() => document.querySelector('.halves .after')?.src.includes('set=snow')")
    loaded(page, ".halves img", 2)


def test_a_made_picture_is_reconstructed_and_the_verdict_said_with_both_histograms(page, server):
    if not page.request.get(f"{server.url}/api/v1/model").json()["detects"]:
        pytest.skip("the bundled model carries no calibration")
    page.goto(f"{server.url}/studio#/detect")
    page.locator("#file").set_input_files(made(server, 104))
    loaded(page, ".trio img")
    page.locator(".verdict").wait_for(timeout=PATIENCE)
    loaded(page, ".trio img", 3)
    assert "made" in page.locator(".verdict").get_attribute("class").split()
    said = page.locator(".verdict").inner_text()
    assert "Made by this model. 1 in " in said
    assert "real photographs of this kind would be reconstructed this well." in said
    for kind in ("real", "made"):
        bars = page.locator(f".needles rect.{kind}")
        heights = bars.evaluate_all("bars => bars.map(bar => +bar.getAttribute('height'))")
        assert sum(height > 0 for height in heights) > 3, kind
    line = page.locator(".needles line.needle").bounding_box()
    drawing = page.locator(".needles svg").bounding_box()
    assert line["x"] > drawing["x"] + drawing["width"] / 2  # among the made ones
    assert "metadata says it was made by this network" in page.locator(".case").inner_text()
    assert "one in a hundred photographs is called made" in page.locator(".case").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the report").click()
    assert download.value.suggested_filename == "detection.html"
    with open(download.value.path(), encoding="utf-8") as report:
        assert "made by this network" in report.read()


def test_who_has_no_picture_at_hand_tries_one_the_model_made(page, server):
    page.goto(f"{server.url}/studio#/detect")
    page.get_by_role("button", name="Try one it made").click()
    page.locator(".verdict").wait_for(timeout=PATIENCE)
    loaded(page, ".trio img", 3)
    assert page.locator(".case h2").inner_text().startswith("№ ")


def test_several_pictures_are_judged_one_after_another(page, server):
    page.goto(f"{server.url}/studio#/detect")
    page.locator("#file").set_input_files([jpeg("one.jpg"), jpeg("two.jpg")])
    page.wait_for_function("() => document.querySelectorAll('.verdict').length === 2", timeout=2 * PATIENCE)
    assert page.locator(".case h2").all_inner_texts() == ["two.jpg", "one.jpg"]
    assert page.get_by_text("It was cut or resized").count() == 2


def test_a_detection_is_cancelled_and_a_wrong_file_explained(page, server):
    page.forgiven.append("422")
    page.goto(f"{server.url}/studio#/detect")
    page.locator("#file").set_input_files(made(server, 5))
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for(timeout=PATIENCE)
    page.locator("#file").set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"<html><p>no</html>"})
    page.locator(".case .error").wait_for()
    assert "The file is not a picture" in page.locator(".case .error").inner_text()
