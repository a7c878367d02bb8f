"""Photograph the studio for the documents: every table, from a real server in a real browser.

    python scripts/studio_pictures.py --runs runs

Writes ``docs/images/studio-*.webp``. Needs Playwright and a Chromium (``apt-get install chromium``). The curves shown
are those of the first run in ``--runs``.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs/images"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PAINTS, JUDGES = "landscapes-128", "landscapes-64"
"""The model with the better pictures; the one with a calibration."""
MADE_SEED = 11
LOADED = "where => [...document.querySelectorAll(where)].every(image => image.complete && image.naturalWidth > 0)"


@contextmanager
def serving(model: str, runs: Path) -> Iterator[str]:
    """Serve ``model`` and ``runs`` meanwhile; give the address."""
    words = ["serve", "--model", model, "--runs", str(runs), "--port", "0", "--no-access-log"]
    server = subprocess.Popen([sys.executable, "-m", "capriccio", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split(" at ")[1].split("/ and")[0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


@contextmanager
def opened(browser: Browser, address: str, *, dark: bool = False, size: tuple[int, int] = (960, 600)) -> Iterator[Page]:
    """Open a page of so many pixels, width and height."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    yield page
    context.close()


def keep(page: Page, name: str, where: str = "main img") -> None:
    """Wait for the pictures of ``where`` and write what is seen."""
    page.locator(where).first.wait_for()
    page.wait_for_function(LOADED, arg=where)
    page.wait_for_timeout(500)
    path = IMAGES / f"studio-{name}.webp"
    with Image.open(BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").save(path, quality=82, method=6)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def photograph_tables(browser: Browser, url: str, run: str) -> None:
    """Photograph everything but the detector."""
    with opened(browser, f"{url}/?seed=15") as page:
        keep(page, "wall", "img")
    with opened(browser, f"{url}/studio#/generate?from=40&seed=48") as page:
        keep(page, "generate", ".grid img")
    with opened(browser, f"{url}/studio#/mix?rows=2,5,8&cols=21,33,40,57,64&layers=5-11", dark=True) as page:
        keep(page, "mix", ".mixing img")
    with opened(browser, f"{url}/studio#/edit?of=9&set=snow%3D2", size=(960, 630)) as page:
        page.get_by_label("Before and after").fill("50")
        page.evaluate("document.activeElement.blur()")
        keep(page, "edit")
    with opened(browser, f"{url}/studio#/walk?keys=11,23,35,47", size=(960, 630)) as page:
        page.get_by_role("button", name="Preview").click()
        page.get_by_alt_text("A walk through").wait_for()
        keep(page, "walk")
    with opened(browser, f"{url}/studio#/runs/{run}", dark=True) as page:
        page.locator("h3", has_text="Losses").scroll_into_view_if_needed()
        keep(page, "runs")


def photograph_detector(browser: Browser, url: str, picture: Path) -> None:
    """Photograph the verdict about a picture that the network made."""
    with opened(browser, f"{url}/studio#/detect", size=(1280, 1010)) as page:
        page.locator("#file").set_input_files(picture)
        page.locator(".verdict").wait_for()
        keep(page, "detect")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of training runs; the first is shown")
    runs = parser.parse_args().runs
    run = min(path.parent.name for path in runs.glob("*/config.yaml"))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with serving(PAINTS, runs) as url:
            photograph_tables(browser, url, run)
        words = ["generate", "-m", JUDGES, "--seeds", str(MADE_SEED), "--no-grid", "--noise-mode", "random"]
        subprocess.run([sys.executable, "-m", "capriccio", *words, "--out", folder], check=True)
        with serving(JUDGES, runs) as url:
            photograph_detector(browser, url, Path(folder) / f"seed{MADE_SEED:04d}.png")
        browser.close()


if __name__ == "__main__":
    main()
