"""A private cache, and small archives of pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.tiny import write_archive


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("CAPRICCIO_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """24 pictures, 3×16×16, without labels."""
    return write_archive(tmp_path_factory.mktemp("data") / "pictures.zip")
