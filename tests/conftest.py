"""What all tests share: signals as in a foreground, and one Chromium, as Playwright can be started once a process.

Without Playwright and a Chromium tests in a browser are skipped, and the summary says so;
CAPRICCIO_NEED_BROWSER=1 makes that an error.
"""

from __future__ import annotations

import os
import shutil
import signal

import pytest

# A shell starts what it runs in the background with SIGINT ignored, and programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def lacking(what):
    if os.environ.get("CAPRICCIO_NEED_BROWSER"):
        pytest.fail(f"{what}, and CAPRICCIO_NEED_BROWSER is set", pytrace=False)
    pytest.skip(f"BROWSER TESTS NOT RUN: {what}")


@pytest.fixture(scope="session")
def chromium():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("Playwright is not installed")
    path = os.environ.get("CHROMIUM") or next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        lacking("there is no Chromium ('apt-get install chromium')")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
