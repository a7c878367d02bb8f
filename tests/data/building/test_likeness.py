from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from capriccio.data.building.copies import find_copies
from capriccio.data.building.flaws import small_grey
from capriccio.data.building.items import HeldContent
from capriccio.data.building.likeness import LikenessIndex
from capriccio.data.fingerprints import likeness

from ..conftest import picture


def look(image: Image.Image) -> np.ndarray:
    return likeness(small_grey(image))


def test_a_picture_is_known_again_smaller_lighter_or_mirrored():
    index = LikenessIndex(3)
    originals = [picture(seed, 300, 400) for seed in range(40)]
    for original in originals:
        assert index.find(look(original)) is None
        index.add(look(original))
    for number, original in enumerate(originals):
        assert index.find(look(original.resize((160, 120)))) == number
        assert index.find(look(ImageEnhance.Brightness(original).enhance(1.02))) == number
        assert index.find(look(ImageOps.mirror(original))) == number
        assert index.find(look(picture(number + 1000, 300, 400))) is None


def test_a_larger_distance_finds_more():
    rng = np.random.default_rng(0)
    thumbnail = rng.integers(40, 200, (8, 9), dtype=np.uint8)
    other = thumbnail.copy()
    other[:6, 4] = 255 - other[:6, 4] // 2  # turns up to twelve comparisons around
    strict, loose = LikenessIndex(1), LikenessIndex(16)
    for index in (strict, loose):
        index.add(thumbnail)
    assert strict.find(other) is None
    distance = np.abs(other.astype(int) - thumbnail).mean()
    assert (loose.find(other) == 0) == (distance <= 6)


def test_the_index_grows_beyond_its_first_room():
    index = LikenessIndex(0)
    thumbnails = np.random.default_rng(1).integers(0, 256, (2100, 8, 9), dtype=np.uint8)
    for thumbnail in thumbnails:
        index.add(thumbnail)
    assert len(index) == 2100
    assert [index.find(thumbnails[n]) for n in (0, 1023, 1024, 2099)] == [0, 1023, 1024, 2099]


def test_of_equal_files_the_shortest_name_is_the_original():
    files = {"b/copy of x.jpg": b"1", "a/x.jpg": b"1", "c/x.jpg": b"1", "y.jpg": b"2", "z.jpg": b"34"}
    read = []

    def content(name: str) -> HeldContent:
        read.append(name)
        return HeldContent(files[name])

    sizes = {name: len(data) for name, data in files.items()}
    assert find_copies(sizes, content) == {"c/x.jpg": "a/x.jpg", "b/copy of x.jpg": "a/x.jpg"}
    assert "z.jpg" not in read
