"""Which part of a photograph becomes the picture: windows of the aspect asked for."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; borders between pixels are whole numbers."""

SMALLEST_SHARE = 0.5
"""Random windows are at least this share of the largest one, in length."""

_DETAIL_SIDE = 128
_CENTRE_PULL = 0.15


def largest_window(height: int, width: int, target: tuple[int, int]) -> tuple[float, float]:
    """Return (height, width) of the largest window with the aspect of ``target`` (height, width)."""
    scale = min(height / target[0], width / target[1])
    return target[0] * scale, target[1] * scale


def centre_window(height: int, width: int, target: tuple[int, int]) -> Box:
    """Return the largest window, in the centre."""
    high, wide = largest_window(height, width, target)
    top, left = (height - high) / 2, (width - wide) / 2
    return left, top, left + wide, top + high


def random_windows(height: int, width: int, target: tuple[int, int], count: int, *, seed: int, key: bytes) -> list[Box]:
    """Return ``count`` windows of random place and size, never smaller than ``target``.

    Args:
        height: of the photograph.
        width: of the photograph.
        target: (height, width) of the picture.
        count: how many.
        seed: of the build.
        key: what identifies the photograph; the same windows come whatever was prepared before it.
    """
    digest = hashlib.blake2b(key, digest_size=8, key=str(seed).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    high, wide = largest_window(height, width, target)
    smallest = min(max(SMALLEST_SHARE, target[0] / high), 1.0)
    boxes = []
    for share, across, down in rng.random((count, 3)):
        size = smallest + (1 - smallest) * share
        left, top = across * (width - wide * size), down * (height - high * size)
        boxes.append((left, top, left + wide * size, top + high * size))
    return boxes


def smart_window(image: Image.Image, target: tuple[int, int]) -> Box:
    """Return the largest window where it shows the most detail; between equals, the one nearer to the centre.

    Detail is the sum of differences between neighbours in grey, at low resolution, so that grain does not count.
    """
    left, top, right, bottom = centre_window(image.height, image.width, target)
    factor = max(1, min(image.size) // _DETAIL_SIDE)
    grey = np.asarray(image.convert("L").reduce(factor), dtype=np.float32)
    detail = np.zeros_like(grey)
    detail[:, 1:] += np.abs(np.diff(grey, axis=1))
    detail[1:] += np.abs(np.diff(grey, axis=0))
    if right - left < image.width:
        shift = _best_start(detail.sum(axis=0), (right - left) / image.width) * image.width
        return shift, top, shift + right - left, bottom
    shift = _best_start(detail.sum(axis=1), (bottom - top) / image.height) * image.height
    return left, shift, right, shift + bottom - top


def _best_start(profile: np.ndarray[tuple[int], np.dtype[np.float32]], share: float) -> float:
    """Return where a window of ``share`` of the length begins, as a share of the length."""
    length = max(1, round(share * len(profile)))
    sums = np.convolve(profile.astype(np.float64), np.ones(length), mode="valid")
    if len(sums) == 1 or sums.max() <= 0:
        return (1 - share) / 2
    offset = np.abs(np.linspace(-1, 1, len(sums)))
    best = int(np.argmax(sums / sums.max() - _CENTRE_PULL * offset**2))
    return best / (len(sums) - 1) * (1 - share)
