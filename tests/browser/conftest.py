"""A real server, a real browser, and two things every test asserts: no request leaves the server, no console error.

Needs Playwright and a Chromium: Debian's (``apt-get install chromium``), or the one CHROMIUM names. Without them these
tests are skipped, and the summary says so; CAPRICCIO_NEED_BROWSER=1 makes that an error.
"""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from ..studio.process import Server


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A folder with one run of six ticks, measured twice, whose discriminator wins."""
    import json

    import yaml
    from PIL import Image

    from capriccio.config import ImageShape, to_dict
    from capriccio.presets import preset

    root = tmp_path_factory.mktemp("runs")
    run = root / "mine"
    (run / "samples").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(to_dict(preset("tiny", ImageShape())) | {"total_kimg": 25}))
    with (run / "stats.jsonl").open("w") as stats:
        for tick in range(6):
            values = {"Loss/G/loss": 5.0 + tick, "Loss/D/loss": 0.08 - 0.01 * tick, "Progress/tick": tick,
                      "Progress/r_t": 0.1 * tick, "Progress/augment": 0.0}  # fmt: skip
            if tick in (2, 5):
                values |= {"Metrics/fd_random1k_full": 20.0 - tick, "Metrics/pr_random1k3_full_precision": 0.5,
                           "Metrics/pr_random1k3_full_recall": 0.1 * tick, "Metrics/nimg": 1000.0 * tick}  # fmt: skip
            line = {name: {"num": 1, "mean": value, "std": 0.0} for name, value in values.items()}
            stats.write(json.dumps(line | {"nimg": 1000 * tick, "timestamp": time.time()}) + "\n")
            Image.new("RGB", (64, 32), (80 * tick, 90, 100)).save(run / "samples" / f"fakes-{tick:06d}.png")
    best = {"number": "fd_random1k_full", "value": 15.0, "nimg": 5000, "snapshot": "snapshot-000005.safetensors"}
    (run / "best.json").write_text(json.dumps(best))
    return root


def photograph(colour=(120, 150, 200)):
    """A picture no network made: a sky over a ground, as JPEG."""
    import io

    import numpy as np
    from PIL import Image

    rows = np.linspace(0, 1, 96)[:, None, None]
    sky = np.array(colour) * (1 - rows) + np.array([240, 230, 210]) * rows
    pixels = np.where(rows < 0.6, sky, np.array([70, 80, 40])) + np.random.default_rng(1).normal(0, 8, (96, 128, 1))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "jpeg", quality=92)
    return file.getvalue()


def addressed(page, text):
    """Wait until the address holds ``text``: scripts change it a moment after what was pressed."""
    page.wait_for_function("text => decodeURIComponent(location.href).includes(text)", arg=text)


def loaded(page, locator, count=1):
    """Wait until so many images are there and shown."""
    page.wait_for_function(
        "([where, count]) => [...document.querySelectorAll(where)].filter(i => i.naturalWidth > 0).length >= count",
        arg=[locator, count],
    )


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


@contextmanager
def watched(chromium, server, **settings):
    """A page that must not ask anybody but the server, nor say an error, except those ``page.forgiven`` names."""
    context = chromium.new_context(**settings)
    page = context.new_page()
    outside, said = [], []
    page.forgiven = []
    page.on("request", lambda asked: outside.append(asked.url)
            if not asked.url.startswith((server.url, "blob:", "about:", "data:")) else None)  # fmt: skip
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_default_timeout(60_000)
    yield page
    context.close()
    assert outside == []
    assert [text for text in said if not any(known in text for known in page.forgiven)] == []


@pytest.fixture
def page(chromium, server, screen):
    with watched(chromium, server, **screen) as page:
        yield page
