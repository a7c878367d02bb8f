"""Small archives and folders of random pictures."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image


def picture(seed: int, height: int = 16, width: int = 16) -> Image.Image:
    """A smooth random RGB picture: no two seeds look alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, image_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch):
    """Every test has a cache of its own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CAPRICCIO_CACHE", str(folder))
    return folder


@pytest.fixture
def make_zip(tmp_path):
    """Write a zip of the given members, by default five pictures, and return its path."""

    def make(members: dict[str, bytes] | None = None, *, index: object = None, name: str = "set.zip"):
        if members is None:
            members = {f"img{i}.png": encoded(picture(i)) for i in range(5)}
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
            if index is not None:
                archive.writestr("dataset.json", index if isinstance(index, str) else json.dumps(index))
        return path

    return make


@pytest.fixture
def make_folder(tmp_path):
    """Write a folder of the given files and return its path."""

    def make(files: dict[str, bytes], name: str = "photos"):
        folder = tmp_path / name
        folder.mkdir()
        for file, data in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        return folder

    return make
