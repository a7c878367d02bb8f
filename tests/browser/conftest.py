"""A real server, a real browser, and two things every test asserts: no request leaves the server, no console error.

Needs Playwright and a Chromium: Debian's (``apt-get install chromium``), or the one CHROMIUM names. Without them these
tests are skipped, and the summary says so; CAPRICCIO_NEED_BROWSER=1 makes that an error.
"""

from __future__ import annotations

import time

import pytest

from ..studio.process import Server


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A folder with one run of three ticks."""
    import json

    import yaml
    from PIL import Image

    from capriccio.config import ImageShape, to_dict
    from capriccio.presets import preset

    root = tmp_path_factory.mktemp("runs")
    run = root / "mine"
    (run / "samples").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(to_dict(preset("tiny", ImageShape()))))
    with (run / "stats.jsonl").open("w") as stats:
        for tick in range(3):
            values = {"Loss/G/loss": 1.0 + tick, "Loss/D/loss": 1.2 - 0.1 * tick, "Progress/tick": tick}
            line = {name: {"num": 1, "mean": value, "std": 0.0} for name, value in values.items()}
            stats.write(json.dumps(line | {"nimg": 1000 * tick, "timestamp": time.time()}) + "\n")
            Image.new("RGB", (64, 32), (80 * tick, 90, 100)).save(run / "samples" / f"fakes-{tick:06d}.png")
    return root


@pytest.fixture(scope="session")
def server(runs):
    pytest.importorskip("uvicorn", reason="the extra 'web' is not installed")
    started = Server(runs)
    yield started
    if started.process.poll() is None:
        started.stop()


@pytest.fixture(params=["desktop", "phone"])
def screen(request):
    if request.param == "desktop":
        return {"viewport": {"width": 1280, "height": 800}}
    return {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}


@pytest.fixture
def page(chromium, server, screen):
    """A page that is watched; ``page.forgiven`` holds texts that a test expects on the console."""
    context = chromium.new_context(**screen, accept_downloads=True)
    page = context.new_page()
    outside, said = [], []
    page.forgiven = []
    page.on("request", lambda asked: outside.append(asked.url)
            if not asked.url.startswith((server.url, "blob:", "about:")) else None)  # fmt: skip
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_default_timeout(20_000)
    yield page
    context.close()
    assert outside == []
    assert [text for text in said if not any(known in text for known in page.forgiven)] == []
