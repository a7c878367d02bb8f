"""The exported page in a real browser: the pictures of the command line, from a plain server of files, nothing else."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capriccio.config import ImageShape
from capriccio.data.cache import cache_folder
from capriccio.errors import CapriccioError, JobError, StorageError, UsageError
from capriccio.interop import browser_runtime as runtime
from capriccio.interop.export_web import export_web
from capriccio.loading.model import Model
from capriccio.ops.quantize import quantize
from capriccio.provenance import TRAINED_ALGORITHMIC_MEDIA, read_provenance
from capriccio.snapshots.snapshot import Snapshot
from tests.interop.test_export import CONDITIONAL, TINY, network

CONFIGS = {"colours": TINY, "labels": CONDITIONAL}


@pytest.fixture(scope="module")
def npm_cache() -> Path:
    """The user's cache with the browser's runtime in it, as an export leaves it."""
    folder = cache_folder() / "npm"
    try:
        runtime.browser_runtime(folder)
    except CapriccioError as error:
        pytest.skip(f"the browser's runtime is not to be had: {error}")
    return folder


@pytest.fixture(scope="module", params=CONFIGS)
def site(request, tmp_path_factory, npm_cache) -> tuple[Snapshot, Path]:
    pytest.importorskip("onnxscript")
    snapshot, folder = network(CONFIGS[request.param]), tmp_path_factory.mktemp("site") / "page"
    export_web(snapshot, folder, cache=npm_cache)
    return snapshot, folder


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address(site) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site[1])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(address, chromium):
    """A tab of Chromium that fails the test for a request to elsewhere, and for anything on the console."""
    tab, wrong = chromium.new_page(), []
    tab.on("request", lambda asked: asked.url.startswith((address, "blob:", "data:")) or wrong.append(asked.url))
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    yield tab
    tab.close()
    assert not wrong


def saved(page, folder: Path) -> Path:
    with page.expect_download() as download:
        page.click("#save")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def shown(page, seed: int, psi: str) -> None:
    page.wait_for_selector(f'#picture[data-seed="{seed}"][data-psi="{psi}"]', timeout=60_000)


@pytest.mark.slow
def test_a_seed_is_the_picture_that_python_paints(site, address, page, tmp_path):
    snapshot, _ = site
    model = Model(snapshot)
    label = 2 if model.c_dim else None
    for seed, psi in ((0, "0.7"), (7, "1"), (2**32 - 1, "0.35")):
        page.goto("about:blank")
        page.goto(f"{address}#seed={seed}&psi={psi}&class=2")
        shown(page, seed, psi)
        file = saved(page, tmp_path)
        c = None if label is None else model.label(label)
        images = model.images(model.ws(seeds=[seed], c=c, truncation_psi=float(psi)))
        expected = quantize(images)[0].permute(1, 2, 0).numpy()
        found = np.asarray(Image.open(file).convert("RGB"))
        assert np.abs(found.astype(int) - expected).max() <= 1
        record = read_provenance(file)
        assert record is not None
        assert (record.seed, record.truncation_psi, record.class_index) == (seed, float(psi), label)
        assert (record.model_hash, record.digital_source_type) == (model.model_hash, TRAINED_ALGORITHMIC_MEDIA)


@pytest.mark.slow
@pytest.mark.parametrize("site", ["colours"], indirect=True)
def test_keys_slider_wall_and_address(site, address, page):
    page.goto(f"{address}#seed=5&psi=0.5")
    shown(page, 5, "0.5")
    page.wait_for_selector("#wall button:nth-child(24) canvas.painted", timeout=60_000)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    shown(page, 6, "0.55")
    assert page.url.endswith("#seed=6&psi=0.55")
    page.locator("#psi").fill("0.9")
    page.locator("#seed").fill("123")
    page.locator("#seed").press("Enter")
    shown(page, 123, "0.9")
    page.wait_for_selector('#wall button[data-seed="126"] canvas.painted')
    page.click('#wall button[data-seed="126"]')
    shown(page, 126, "0.9")
    page.click("#walk")
    page.wait_for_selector('#walk[aria-pressed="true"]')
    page.wait_for_timeout(300)
    page.click("#walk")
    page.wait_for_selector('#walk[aria-pressed="false"]')


@pytest.mark.slow
@pytest.mark.parametrize("site", ["colours"], indirect=True)
def test_seeds_in_the_browser_are_those_of_numpy(site, address, page):
    seeds = [0, 1, 42, 1234567, 2**31, 2**32 - 1]
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.goto(f"{address}seeds.js")
    found = page.evaluate(
        "async (seeds) => { const { gaussians } = await import('./seeds.js');"
        " return seeds.map((seed) => Array.from(gaussians(seed, 1401))); }",
        seeds,
    )
    expected = [np.random.RandomState(seed).randn(1401) for seed in seeds]
    np.testing.assert_allclose(found, np.float32(expected), rtol=3e-7, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("site", ["colours"], indirect=True)
def test_a_damaged_folder_says_so_on_the_page(site, tmp_path, address, page):
    page.route("**/network.onnx", lambda route: route.fulfill(status=200, body=b"no network"))
    page.goto(address)
    page.wait_for_selector("#curtain.failed")
    assert "This did not work" in page.inner_text("#status")


@pytest.mark.slow
@pytest.mark.parametrize("site", ["colours"], indirect=True)
def test_an_export_is_replaced_and_other_files_are_not(site, tmp_path, npm_cache):
    snapshot, folder = site
    export_web(snapshot, folder, cache=npm_cache, noise="none")
    facts = json.loads((folder / "model.json").read_text())
    assert (facts["noise"], facts["width"], facts["licence"]) == ("none", 24, "CC0-1.0")
    assert "MIT License" in (folder / "THIRD-PARTY.txt").read_text()
    assert "://" not in "".join((folder / name).read_text() for name in ("index.html", "style.css", "painter.js"))


# ---- without a browser and without a network


def refuse(match: str, folder: Path, error: type[Exception] = UsageError, **how: object) -> None:
    snapshot = how.pop("snapshot", None) or network()
    with pytest.raises(error, match=match) as caught:
        export_web(snapshot, folder, **{"cache": folder.parent / "cache", **how})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    pytest.importorskip("onnxscript")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    refuse("holds other files", tmp_path / "mine")
    refuse("is a file", tmp_path / "mine" / "thesis.txt")
    refuse("cannot be written", tmp_path / "mine" / "thesis.txt" / "page", error=StorageError)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_what_a_page_cannot_show_is_refused(tmp_path):
    pytest.importorskip("onnxscript")
    refuse("has no noise to give", tmp_path / "page", noise="input")
    two = network(CONFIGS["colours"].__class__(shape=ImageShape(channels=2, height=8, width=8), channel_base=64))
    refuse("1, 3 or 4 channels", tmp_path / "page", snapshot=two)


def test_a_machine_without_npm_or_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    with pytest.raises(UsageError, match=r"npm, which fetches it, is not installed; .*npm pack onnxruntime-web@\d"):
        runtime.browser_runtime(tmp_path / "cache")
    npm = tmp_path / "bin" / "npm"
    told = ["npm error code ENOTFOUND", "npm error network request failed."]
    npm.write_text("#!/bin/sh\n" + "".join(f"echo '{line}' >&2\n" for line in told) + "exit 1\n")
    npm.chmod(0o755)
    with pytest.raises(JobError, match=r"offline\? npm says: network request failed\. Then .*--runtime") as caught:
        runtime.browser_runtime(tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_another_package_is_not_taken_for_the_runtime(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        runtime.browser_runtime(tmp_path, tmp_path / "none.tgz")
    (tmp_path / "other.tgz").write_bytes(b"something else")
    with pytest.raises(UsageError, match=r"is not onnxruntime-web .* as published"):
        runtime.browser_runtime(tmp_path, tmp_path / "other.tgz")
