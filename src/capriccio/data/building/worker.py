"""One file to finished pictures: the work that several processes share, and what each of them does."""

from __future__ import annotations

import hashlib
import io
import pickle
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from capriccio.data.archive import IMAGE_SUFFIXES
from capriccio.data.building import crops
from capriccio.data.building.decoding import OVERSIZE, decode_photograph, has_picture_signature, may_be_picture
from capriccio.data.building.flaws import ANALYSIS_SIDE, Grey, bars, is_flat, lettering, small_grey
from capriccio.data.building.items import Item
from capriccio.data.building.recipe import Recipe
from capriccio.data.building.report import Status
from capriccio.data.building.resampling import resize
from capriccio.data.fingerprints import likeness
from capriccio.data.pictures import PictureError, TooManyPixelsError, read_header
from capriccio.data.writer import EncodedPicture, encode

_HEAD_BYTES = 12
_PREVIEW_SIDE = 128
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker needs to know besides the file."""

    size: tuple[int, int]
    """(height, width) of the pictures."""
    recipe: Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one file."""

    status: Status = "kept"
    """As far as the file alone decides; duplicates are found later."""
    reason: str = ""
    """Why it was left out, or what was noticed."""
    flaws: tuple[str, ...] = ()
    pictures: tuple[EncodedPicture, ...] = ()
    """The finished pictures; empty unless kept."""
    sha256: str = ""
    """Of the file, hexadecimal; empty where it could not be read."""
    thumbnail: bytes = b""
    """Likeness of the whole photograph, 72 bytes; empty unless decoded."""
    size: tuple[int, int] | None = None
    """(height, width) of the original, upright."""
    preview: bytes = b""
    """A small JPEG of what was dropped, for the report's page."""


def prepare(item: Item, task: Task) -> Outcome:
    """Decode, judge, cut, reduce and encode one file; whatever is wrong with it becomes part of the outcome."""
    sha256, size = "", None
    try:
        head = item.content.read(_HEAD_BYTES)
        if (refused := _refused_by_head(item.name, head)) is not None:
            return refused
        data = item.content.read()
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            size = read_header(data).size
        except TooManyPixelsError as error:
            return Outcome(status="dropped", reason=str(error), sha256=sha256)
        except PictureError as error:
            known = has_picture_signature(head)
            return Outcome(status="unreadable" if known else "not-an-image", reason=str(error), sha256=sha256)
        if (small := _too_small(size, task)) is not None:
            return Outcome(status="too-small", reason=small, sha256=sha256, size=size)
        if (narrow := _too_narrow(size, task.recipe)) is not None:
            return Outcome(status="dropped", reason=narrow, sha256=sha256, size=size)
        return _finished(data, sha256, size, task)
    except (PictureError, MemoryError) as error:
        return Outcome(status="unreadable", reason=str(error) or "needs too much memory", sha256=sha256, size=size)


def _refused_by_head(name: str, head: bytes) -> Outcome | None:
    if not head:
        return Outcome(status="not-an-image", reason="is an empty file")
    if may_be_picture(head):
        return None
    named_so = PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
    reason = "is not a picture of a known format, whatever its name says" if named_so else "is not a picture"
    return Outcome(status="not-an-image", reason=reason)


def _too_small(size: tuple[int, int], task: Task) -> str | None:
    ratios = task.size[0] / size[0], task.size[1] / size[1]
    factor = min(ratios) if task.recipe.crop == "pad" else max(ratios)
    if factor <= task.recipe.max_enlarge + _ROUNDING:
        return None
    return f"is too small: {size[0]}×{size[1]}, needed at least {task.size[0]}×{task.size[1]}"


def _too_narrow(size: tuple[int, int], recipe: Recipe) -> str | None:
    aspect = max(size) / min(size)
    if recipe.max_aspect is None or aspect <= recipe.max_aspect:
        return None
    return f"has an aspect of {aspect:.2f}, more than {recipe.max_aspect:g}"


def _finished(data: bytes, sha256: str, size: tuple[int, int], task: Task) -> Outcome:
    recipe = task.recipe
    image = decode_photograph(data, recipe.mode, recipe.background, _needed(size, task))
    dropped: list[tuple[str, str]] = []
    noticed: list[tuple[str, str]] = []
    grey = small_grey(image)
    for flaw, policy, words in _flaws(np.asarray(grey, dtype=np.float32), recipe):
        (dropped if policy == "drop" else noticed).append((flaw, words))
    if dropped:
        return Outcome(
            status="dropped",
            reason=", ".join(words for _, words in dropped),
            flaws=tuple(flaw for flaw, _ in dropped),
            sha256=sha256,
            size=size,
            preview=preview(image),
        )
    return Outcome(
        reason=", ".join(words for _, words in noticed),
        flaws=tuple(flaw for flaw, _ in noticed),
        pictures=tuple(encode(picture, recipe.stored_format) for picture in _pictures(image, sha256, task)),
        sha256=sha256,
        thumbnail=likeness(grey).tobytes(),
        size=size,
    )


def _needed(size: tuple[int, int], task: Task) -> tuple[float, float]:
    """Return (height, width) at which a photograph should at least be decoded."""
    height, width = size
    ratios = height / task.size[0], width / task.size[1]
    if task.recipe.crop == "pad":
        scale = max(ratios)
    else:
        scale = min(ratios) * (crops.SMALLEST_SHARE if task.recipe.crop == "random" else 1)
    factor = OVERSIZE / scale
    if _judges(task.recipe):
        factor = max(factor, ANALYSIS_SIDE / min(size))
    return height * min(factor, 1.0), width * min(factor, 1.0)


def _judges(recipe: Recipe) -> bool:
    return not (recipe.flat == recipe.borders == recipe.text == "ignore")


def _flaws(grey: Grey, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Yield what is doubtful about a picture: flaw, policy, and the words for it."""
    if recipe.flat != "ignore" and is_flat(grey):
        yield "flat", recipe.flat, "shows nearly nothing"
    if recipe.borders != "ignore" and (words := bars(grey)) is not None:
        yield "borders", recipe.borders, f"has {words}"
    if recipe.text != "ignore" and (words := lettering(grey)) is not None:
        yield "text", recipe.text, f"has {words}"


def _pictures(image: Image.Image, sha256: str, task: Task) -> Iterator[Image.Image]:
    recipe, target = task.recipe, task.size
    if recipe.crop == "pad":
        yield _padded(image, target, recipe)
        return
    if recipe.crop == "centre":
        boxes = [crops.centre_window(image.height, image.width, target)]
    elif recipe.crop == "smart":
        boxes = [crops.smart_window(image, target)]
    else:
        key = bytes.fromhex(sha256)
        boxes = crops.random_windows(image.height, image.width, target, recipe.crops, seed=recipe.seed, key=key)
    for box in boxes:
        yield resize(image, target, box, resample=recipe.filter, linear=recipe.linear)


def _padded(image: Image.Image, target: tuple[int, int], recipe: Recipe) -> Image.Image:
    """Return the whole picture between bars of the background, or of nothing in RGBA."""
    scale = min(target[0] / image.height, target[1] / image.width)
    height, width = max(1, round(image.height * scale)), max(1, round(image.width * scale))
    whole = (0.0, 0.0, float(image.width), float(image.height))
    inner = resize(image, (height, width), whole, resample=recipe.filter, linear=recipe.linear)
    if recipe.mode == "RGBA":
        canvas = Image.new("RGBA", target[::-1], (*recipe.background, 0))
    else:
        canvas = Image.new("RGB", target[::-1], recipe.background).convert(recipe.mode)
    canvas.paste(inner, ((target[1] - width) // 2, (target[0] - height) // 2))
    return canvas


def preview(image: Image.Image) -> bytes:
    """Return a small JPEG of a picture."""
    small = image.convert("RGB")
    small.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def preview_of(data: bytes) -> bytes:
    """Return a small JPEG of an encoded picture of this project's own making."""
    with Image.open(io.BytesIO(data)) as image:
        return preview(image)


def serve() -> None:
    """Answer items from standard input until it ends; the first thing that comes is the task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides when to stop
    warnings.simplefilter("ignore")  # decoders warn about oddities of files; what matters becomes an outcome
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    task = pickle.load(source)
    while True:
        try:
            item = pickle.load(source)
        except EOFError:
            return
        pickle.dump(prepare(item, task), sink, protocol=pickle.HIGHEST_PROTOCOL)
        sink.flush()
