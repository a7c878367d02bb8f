"""The keyboard alone: every table's main path without a pointer, and the focus always to be seen."""

from __future__ import annotations

import pytest

from .conftest import addressed, loaded

pytestmark = pytest.mark.slow


@pytest.fixture
def screen():
    return {"viewport": {"width": 1280, "height": 800}}


def reach(page, name, most=80):
    """Press Tab until the focus is on what is called ``name``."""
    told = "e => e?.getAttribute('aria-label') ?? e?.labels?.[0]?.textContent ?? e?.textContent ?? ''"
    for _ in range(most):
        page.keyboard.press("Tab")
        now = page.evaluate(f"({told})(document.activeElement)")
        if now.strip().startswith(name):
            shown = "e => getComputedStyle(e.classList.contains('unseen') ? e.closest('label') : e).outlineStyle"
            assert page.evaluate(f"({shown})(document.activeElement)") != "none", f"no focus is seen on '{name}'"
            return
    raise AssertionError(f"Tab does not reach '{name}'")


def test_tables_help_and_back(page, server):
    page.goto(f"{server.url}/studio")
    page.locator(".grid .picture").first.wait_for()
    for key, name in zip("234561", ["Mix", "Edit", "Walk", "Detect", "Runs", "Generate"], strict=True):
        page.keyboard.press(key)
        page.get_by_role("heading", name=name, exact=True).wait_for()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the first stop skips the tabs
    assert page.evaluate("document.activeElement.id") == "table"


def test_generate_open_and_pin(page, server):
    page.goto(f"{server.url}/studio#/generate?from=100")
    loaded(page, ".grid img", 1)
    page.keyboard.press("n")
    page.wait_for_function("() => !location.hash.includes('from=100')")
    page.goto(f"{server.url}/studio#/generate?from=200")
    page.reload()
    reach(page, "Open № 200")
    page.keyboard.press("Enter")
    loaded(page, "#large img")
    reach(page, "Pin")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Open № 200"
    assert page.locator("#tray .picture").count() == 1


def test_mix_layers_and_sources(page, server):
    page.goto(f"{server.url}/studio#/mix?rows=1&cols=3")
    loaded(page, ".mixing img", 3)
    reach(page, "middle")
    page.keyboard.press("Enter")
    addressed(page, "layers=middle")
    reach(page, "Row 0, 4 pixels")
    page.keyboard.press("Space")
    addressed(page, "layers=0,3")
    reach(page, "Change № 3, top")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.textContent === 'Another'")
    page.keyboard.press("Enter")
    page.wait_for_function("() => !/cols=3(&|$)/.test(location.hash)")


def test_edit_a_slider_and_undo(page, server):
    page.goto(f"{server.url}/studio#/edit?of=104")
    loaded(page, ".halves img", 2)
    reach(page, "snow")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    addressed(page, "set=snow=0.5")
    page.reload()
    loaded(page, ".halves img", 2)
    reach(page, "Undo all")
    page.keyboard.press("Enter")
    page.wait_for_function("() => !location.hash.includes('set=')")


def test_walk_preview_and_cancel(page, server):
    page.goto(f"{server.url}/studio#/walk?keys={','.join(map(str, range(20)))}")
    loaded(page, ".keys img", 2)
    page.keyboard.press("n")
    page.get_by_role("button", name="Cancel").wait_for()
    reach(page, "Cancel")
    page.keyboard.press("Enter")
    page.get_by_text("Cancelled.").wait_for()


def test_detect_opens_the_file_dialogue(page, server):
    opened = []
    page.on("filechooser", lambda chooser: opened.append(chooser))
    page.goto(f"{server.url}/studio#/detect")
    page.locator(".drop").wait_for()
    reach(page, "Drop pictures here")
    page.keyboard.press("Enter")
    for _ in range(100):
        page.wait_for_timeout(100)
        if opened:
            break
    assert opened


def test_runs_and_back_in_time(page, server):
    page.goto(f"{server.url}/studio#/runs")
    page.locator(".card").wait_for()
    reach(page, "mine")
    page.keyboard.press("Enter")
    loaded(page, ".sheet")
    reach(page, "Samples over time")
    page.keyboard.press("ArrowLeft")
    assert "fakes-000004" in page.locator(".sheet").get_attribute("src")
