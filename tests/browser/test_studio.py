"""The studio: each table's main path, what it looks like at every size, and that everybody can use it."""

from __future__ import annotations

import pytest

from .conftest import addressed, loaded

pytestmark = pytest.mark.slow

TABLES = ["generate", "mix", "edit", "walk", "detect", "runs", "runs/mine"]


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
    addressed(page, "from=100")


def test_the_gallery_fills_a_tall_screen_without_being_scrolled(page, server):
    page.set_viewport_size({"width": 2560, "height": 1440})
    page.goto(f"{server.url}/studio#/generate?from=100")
    for _ in range(2):
        page.wait_for_function("() => document.querySelector('.grid + p')?.getBoundingClientRect().top > innerHeight")
        page.get_by_role("button", name="Others").click()


def test_a_picture_opens_large_with_its_truncation_strip_and_neighbours(page, server):
    page.goto(f"{server.url}/studio#/generate?from=7")
    page.get_by_role("button", name="Open № 7").click()
    loaded(page, "#large img")
    assert "№ 7" in page.locator("#large").inner_text()
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="№ 8").wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_role("heading", name="№ 7").wait_for()
    page.keyboard.press("Escape")
    assert page.locator(".strip figure").count() == 9
    addressed(page, "seed=7")


def test_noise_and_cutoff_change_the_pictures_and_the_address(page, server):
    page.goto(f"{server.url}/studio#/generate?from=7")
    loaded(page, ".grid img", 1)
    page.locator("summary").click()
    page.get_by_label("Noise").select_option("random")
    page.get_by_label("Cutoff").select_option("3")
    addressed(page, "noise=random")
    addressed(page, "cutoff=3")
    page.wait_for_function("() => document.querySelector('.grid img')?.src.includes('noise=random')")
    loaded(page, ".grid img", 1)
    page.reload()
    page.wait_for_function("() => document.querySelector('.grid img')?.src.includes('cutoff=3')")


def test_the_mixing_table_fills_and_layers_change_it(page, server):
    page.goto(f"{server.url}/studio#/mix?rows=1,2&cols=3,4")
    loaded(page, ".mixing img", 4)
    assert page.locator(".mixing .picture").count() == 8
    cell = page.locator(".mixing .picture:not(.source) img").first
    coarse = cell.get_attribute("src")
    page.get_by_role("button", name="fine").click()
    addressed(page, "layers=fine")
    assert cell.get_attribute("src") != coarse
    page.get_by_role("button", name="Row 0, 4 pixels").press("Enter")
    addressed(page, "layers=0,")
    page.get_by_role("button", name="One more on the top").click()
    page.get_by_role("button", name="Another").click()
    assert page.locator(".mixing .picture").count() == 11
    page.get_by_role("button", name="Change № 2, left").click()
    page.get_by_role("button", name="Remove").click()
    assert page.locator(".mixing .picture").count() == 7
    page.get_by_role("button", name="Open № 1 with").first.click()
    loaded(page, "#large img")


def test_a_direction_changes_the_picture_and_the_address(page, server):
    page.goto(f"{server.url}/studio#/edit?of=104")
    loaded(page, ".halves img", 2)
    track = "slider => ['--from', '--to'].map(name => slider.style.getPropertyValue(name))"
    assert page.locator("#d-snow").evaluate(track) == ["50%", "50%"]  # nothing is changed, and no colour says so
    page.locator("#d-snow").fill("3")
    assert page.locator("#d-snow").evaluate(track) == ["50%", "87.5%"]
    page.wait_for_function("() => document.querySelector('.halves .after')?.src.includes('set=snow')")
    loaded(page, ".halves img", 2)
    addressed(page, "set=snow=3")
    page.reload()
    loaded(page, ".halves img", 2)
    assert page.locator("#d-snow").input_value() == "3"
    page.locator("#d-snow").dblclick()
    page.wait_for_function("() => !document.querySelector('.halves .after')?.src.includes('set=')")


def test_a_mixture_from_the_tray_is_edited(page, server):
    page.goto(f"{server.url}/studio#/mix?rows=1&cols=3&layers=fine")
    page.get_by_role("button", name="Open № 1 with fine of № 3").click()
    page.locator("#large").get_by_role("link", name="Edit").click()
    loaded(page, ".halves img", 2)
    assert "mixed=3" in page.locator(".halves .after").get_attribute("src")
    page.locator("#d-snow").fill("2")
    page.wait_for_function("() => document.querySelector('.halves .after')?.src.includes('set=snow')")
    loaded(page, ".halves .after")
    page.get_by_role("button", name="Pin", exact=True).click()
    page.get_by_role("button", name="Another").click()
    page.get_by_role("button", name="Choose").click()
    page.get_by_role("button", name="Take № 1 with fine of № 3").click()
    page.wait_for_function("() => document.querySelector('.halves .after')?.src.includes('mixed=3')")
    assert page.locator("#d-snow").input_value() == "2"


def test_a_walk_is_previewed(page, server):
    page.goto(f"{server.url}/studio#/walk?keys=1,2")
    page.get_by_text("The film plays here").wait_for()
    page.get_by_label("Pace").select_option("0.75")
    page.get_by_role("button", name="Preview").click()
    loaded(page, ".stage img")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download walk.webp").click()
    assert download.value.suggested_filename == "walk.webp"


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


def test_runs_have_curves_metrics_sheets_and_a_doctor(page, server):
    page.goto(f"{server.url}/studio#/runs")
    page.get_by_role("link", name="mine").click()
    page.locator(".plot > svg path.c0").first.wait_for()
    loaded(page, ".sheet")
    told = page.locator("main").inner_text()
    assert "5 kimg of 25" in told
    assert "best: snapshot-000005.safetensors, fd_random1k_full 15" in told
    assert "The discriminator wins everything" in told
    titles = page.locator(".plot h3").all_inner_texts()
    assert titles[:3] == ["fd_random1k_full", "pr_random1k3_full", "Losses"]
    key = page.locator(".plot", has_text="pr_random1k3_full").locator("li")
    assert key.all_inner_texts() == ["precision", "recall"]
    page.locator("#time").press("ArrowLeft")
    assert "fakes-000004" in page.locator(".sheet").get_attribute("src")
    assert "4 kimg" in page.locator(".time").inner_text()


def test_a_run_that_goes_on_is_followed(page, server, runs):
    """New statistics appear without a reload, and the slider stays where it was put."""
    page.add_init_script("const every = setInterval; window.setInterval = (f, ms) => every(f, ms === 10000 ? 300 : ms)")
    page.goto(f"{server.url}/studio#/runs/mine")
    loaded(page, ".sheet")
    page.locator("#time").press("Home")
    stats = runs / "mine" / "stats.jsonl"
    kept = stats.read_text()
    try:
        last = kept.splitlines()[-1].replace('"nimg": 5000,', '"nimg": 6500,')
        stats.write_text(kept + last + "\n")
        page.get_by_text("6.5 kimg of 25").wait_for()
        assert "fakes-000000" in page.locator(".sheet").get_attribute("src")
    finally:
        stats.write_text(kept)


def test_a_folder_without_runs_says_what_to_do(page, server):
    page.route("**/api/v1/runs", lambda route: route.fulfill(json={"runs": []}))
    page.goto(f"{server.url}/studio#/runs")
    page.get_by_text("No run here yet").wait_for()
    assert "capriccio train" in page.locator(".empty").inner_text()


@pytest.mark.parametrize("width", [360, 1280, 2560])
@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_wider_than_the_screen_and_fingers_find_everything(page, server, table, width):
    page.set_viewport_size({"width": width, "height": 840})
    page.goto(f"{server.url}/studio#/{table}")
    page.locator("main h1").wait_for()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.evaluate("""() =>
      [...document.querySelectorAll('button, a.button, select, summary, #tabs a, input[type=range]')]
      .filter(e => e.checkVisibility()).map(e => [e.getBoundingClientRect(), e.outerHTML.slice(0, 90)])
      .filter(([box]) => Math.min(box.width, box.height) < 43.5).map(([, text]) => text)""")
    assert small == []


@pytest.mark.parametrize("address", ["/", "/api/v1/docs", *(f"/studio#/{table}" for table in TABLES)])
def test_accessible(page, server, address):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.goto(server.url + address)
    page.wait_for_load_state("networkidle")
    assert grave(axe, page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dialogs_and_errors_are_accessible_in_both_schemes(page, server, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.forgiven.append("422")
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{server.url}/studio#/generate?from=7&seed=7")
    loaded(page, ".grid img", 1)
    page.locator(".grid .pin").first.click(force=True)
    page.get_by_role("button", name="Open № 7").first.click()
    loaded(page, "#large img")
    assert grave(axe, page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert grave(axe, page) == []
    page.keyboard.press("Escape")
    page.goto(f"{server.url}/studio#/walk?keys={','.join(map(str, range(24)))}")
    page.get_by_label("Pace").select_option("3")
    page.get_by_role("button", name="Export").click()
    page.locator(".stage .error").wait_for()
    page.get_by_role("button", name="Change № 0, key 1").click()
    assert grave(axe, page) == []


def grave(axe, page):
    found = axe.Axe().run(page).response["violations"]
    return [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in found
            if v["impact"] in ("serious", "critical")]  # fmt: skip
