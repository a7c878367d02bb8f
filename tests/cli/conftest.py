"""A small archive of pictures, and the command line in this process."""

from __future__ import annotations

import io
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capriccio.cli.main import main


@pytest.fixture(autouse=True)
def _keep_signal_handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("CAPRICCIO_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """Twenty pictures of 16×24 pixels, height by width."""
    path = tmp_path_factory.mktemp("data") / "pictures.zip"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as file:
        for i in range(20):
            encoded = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(encoded, "png")
            file.writestr(f"{i:03d}.png", encoded.getvalue())
    return path


@pytest.fixture
def cli(capsys) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command line: (exit code, standard output, standard error)."""

    def run(*argv: object) -> tuple[int, str, str]:
        code = main([str(word) for word in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
