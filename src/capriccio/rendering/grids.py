"""From network output to pictures, and many pictures on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from capriccio.errors import JobError, UsageError
from capriccio.ops.quantize import quantize

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

MAX_SHEET_PIXELS = 120_000_000
"""Largest sheet that is drawn; viewers refuse larger pictures, and it takes 360 MB."""

DIFFERENCE_GAIN = 4.0
"""How much differences between pictures are enlarged, to be seen."""

_INK, _PAPER, _QUIET = (34, 34, 34), (255, 255, 255), (110, 110, 110)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_EMPTY: dict[str, int | tuple[int, ...]] = {"L": 255, "RGB": _PAPER, "RGBA": (0, 0, 0, 0)}


def to_uint8(images: Tensor) -> Pixels:
    """Return images as bytes the way the field does: floor(clamp(127.5·x + 128, 0, 255)).

    Args:
        images: [N, C, H, W] in [−1, 1], on any device.

    Returns: [N, H, W, C], uint8.
    Raises: JobError if a value is not finite: the weights are damaged, or the precision does not suffice.
    """
    if not torch.isfinite(images).all():
        raise JobError("The network painted values that are not finite. Try --precision fp32; "
                       "if it stays, the weights are damaged.")  # fmt: skip
    pixels: Pixels = quantize(images).permute(0, 2, 3, 1).cpu().numpy()
    return pixels


def to_picture(pixels: Pixels) -> Image.Image:
    """Return one image [H, W, C] as a Pillow picture: grey, RGB or RGBA; other channels as grey tiles side by side."""
    channels = pixels.shape[2]
    if channels == 1:
        return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0]))
    if channels in _MODES:
        return Image.fromarray(np.ascontiguousarray(pixels))
    return Image.fromarray(np.concatenate([pixels[:, :, i] for i in range(channels)], axis=1))


def pictures_of(images: Tensor) -> list[Image.Image]:
    """Return images [N, C, H, W] in [−1, 1] as Pillow pictures; see :func:`to_uint8` and :func:`to_picture`."""
    return [to_picture(pixels) for pixels in to_uint8(images)]


def picture_of(image: Tensor) -> Image.Image:
    """Return one image [C, H, W] in [−1, 1] as a Pillow picture."""
    return pictures_of(image[None])[0]


def difference_of(image: Tensor, other: Tensor) -> Image.Image:
    """Return where two images [C, H, W] differ, DIFFERENCE_GAIN times enlarged: black = nowhere."""
    return picture_of((image.cpu() - other.cpu()).abs() * DIFFERENCE_GAIN - 1)


def picture_size(channels: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of :func:`to_picture` of an image with ``channels`` and ``size`` (height, width)."""
    return size[0], size[1] * (1 if channels in _MODES else channels)


def enlarge(picture: Image.Image, scale: int) -> Image.Image:
    """Return the picture ``scale`` times as large, smoothly: by a better filter than viewers and browsers have."""
    if scale == 1:
        return picture
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.LANCZOS)


def scale_to_reach(side: int, size: tuple[int, int]) -> int:
    """Return the smallest whole factor with which the shorter side of ``size`` (height, width) reaches ``side``."""
    return max(1, math.ceil(side / min(size)))


def near_square(count: int, cell_size: tuple[int, int]) -> tuple[int, int]:
    """Return (rows, columns) of a sheet of ``count`` cells of (height, width) that is about as high as wide."""
    height, width = cell_size
    columns = min(count, max(1, math.ceil(math.sqrt(count * height / width) - 1e-9)))
    return math.ceil(count / columns), columns


class Sheet:
    """A sheet of equal cells, filled one by one; cells that stay empty show paper.

    Args:
        rows: number of rows.
        columns: number of columns.
        cell_size: (height, width) of a cell in pixels.
        mode: Pillow mode of the pictures.

    Raises: UsageError if the sheet would have more than MAX_SHEET_PIXELS.
    """

    def __init__(self, rows: int, columns: int, cell_size: tuple[int, int], mode: str = "RGB") -> None:
        self.columns, self.cell_size = columns, cell_size
        height, width = rows * cell_size[0], columns * cell_size[1]
        _check_sheet(height, width)
        self.image = Image.new(mode, (width, height), _EMPTY[mode])

    def put(self, index: int, picture: Image.Image) -> None:
        """Put ``picture`` into cell ``index``, counted row by row."""
        row, column = divmod(index, self.columns)
        self.image.paste(picture, (column * self.cell_size[1], row * self.cell_size[0]))


def image_grid(pictures: Sequence[Image.Image], columns: int | None = None) -> Image.Image:
    """Return equal-sized pictures on one sheet, in about as many rows as columns unless ``columns`` is given."""
    if not pictures:
        raise UsageError("A grid needs at least one picture.")
    cell_size = pictures[0].height, pictures[0].width
    rows, columns = (
        near_square(len(pictures), cell_size) if columns is None else (math.ceil(len(pictures) / columns), columns)
    )
    sheet = Sheet(rows, columns, cell_size, pictures[0].mode)
    for index, picture in enumerate(pictures):
        if (picture.height, picture.width) != cell_size:
            raise UsageError(f"A grid needs pictures of one size, got {picture.size} after {pictures[0].size}.")
        sheet.put(index, picture)
    return sheet.image


class Table:
    """The style-mixing table: sources along the top and down the left, named; cells between them.

    Args:
        row_labels: names of the sources on the left.
        column_labels: names of the sources along the top.
        cell_size: (height, width) of a cell in pixels, after enlarging.
        title: one line above everything.
        column_sources: whether the columns have pictures of their own, in a row on top.

    Raises: UsageError if the table would have more than MAX_SHEET_PIXELS.
    """

    GAP = 4
    """Pixels between cells."""
    SOURCE_GAP = 16
    """Pixels between sources and cells."""
    MARGIN = 24
    """Pixels around everything."""

    def __init__(
        self,
        row_labels: Sequence[str],
        column_labels: Sequence[str],
        cell_size: tuple[int, int],
        title: str,
        *,
        column_sources: bool = True,
    ) -> None:
        self.cell_size = cell_size
        self._source_height = cell_size[0] + self.SOURCE_GAP if column_sources else 0
        self._font = ImageFont.load_default(size=14)
        title_font = ImageFont.load_default(size=17)
        height, width = cell_size
        labels_width = min(200, math.ceil(max((self._font.getlength(t) for t in row_labels), default=0)))
        self._left = self.MARGIN + labels_width + 12
        self._top = self.MARGIN + 34 + 22
        full_width = self._left + width + self.SOURCE_GAP + len(column_labels) * (width + self.GAP) + self.MARGIN
        full_height = self._top + self._source_height + len(row_labels) * (height + self.GAP) + self.MARGIN
        full_width = max(full_width, math.ceil(title_font.getlength(title)) + 2 * self.MARGIN)
        _check_sheet(full_height, full_width)
        self.image = Image.new("RGB", (full_width, full_height), _PAPER)
        self._draw = ImageDraw.Draw(self.image)
        self._draw.text((self.MARGIN, self.MARGIN - 2), title, fill=_INK, font=title_font)
        for column, text in enumerate(column_labels):
            x, y = self._corner(-1, column)
            self._label((x + width / 2, y - 8), text, "ms", width)
        for row, text in enumerate(row_labels):
            x, y = self._corner(row, -1)
            self._label((x - 12, y + height / 2), text, "rm", labels_width)

    def put(self, row: int, column: int, picture: Image.Image) -> None:
        """Put ``picture`` into a cell; row −1 is the row of sources on top, column −1 the one on the left."""
        corner = self._corner(row, column)
        self.image.paste(picture, corner, picture if picture.mode == "RGBA" else None)

    def _corner(self, row: int, column: int) -> tuple[int, int]:
        height, width = self.cell_size
        x = self._left if column < 0 else self._left + width + self.SOURCE_GAP + column * (width + self.GAP)
        y = self._top if row < 0 else self._top + self._source_height + row * (height + self.GAP)
        return x, y

    def _label(self, at: tuple[float, float], text: str, anchor: str, room: int) -> None:
        """Draw ``text`` in ``room`` pixels, its end cut where it is longer."""
        # Names come from files: no control characters, and nothing longer than anybody could read.
        shown = "".join(letter for letter in text[:200] if letter.isprintable())
        if self._font.getlength(shown) > room:
            while shown and self._font.getlength(shown + "...") > room:
                shown = shown[:-1]
            shown += "..."  # the built-in font has no ellipsis
        self._draw.text(at, shown, fill=_QUIET, font=self._font, anchor=anchor)


def _check_sheet(height: int, width: int) -> None:
    if height * width > MAX_SHEET_PIXELS:
        raise UsageError(f"The sheet would be {height}×{width} pixels, more than {MAX_SHEET_PIXELS / 1e6:.0f} million. "
                         "Ask for fewer pictures on it.")  # fmt: skip
