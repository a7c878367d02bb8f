"""One HTML page that shows what a job did: self-contained, no script, nothing loaded from elsewhere.

Callers pass data; this module lays it out. Every text is escaped, and the page forbids itself every request and script.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from PIL import Image

from capriccio.durable import replacing
from capriccio.errors import ShapeError, UsageError
from capriccio.provenance import code_version
from capriccio.rendering.curves import Plot, plot_svg
from capriccio.rendering.grids import scale_to_reach
from capriccio.rendering.markup import escape

SHOWN_SIDE = 192
"""Pictures smaller than this are shown enlarged by a whole factor until their shorter side reaches it."""

PAGE_WIDTH = 992
"""Width of the page's column in CSS pixels."""

_MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "AVIF": "image/avif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture or film with its caption."""

    image: Image.Image | bytes
    """A picture, or a PNG, JPEG, WebP or AVIF file's bytes (also an animated one), embedded as they are."""
    caption: str = ""
    """What one sees; also read aloud in place of the picture."""
    scale: int | None = None
    """Whole factor by which it is shown enlarged; None = until it can be seen well, 1 = pixel for pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Pictures side by side, as many as the page is wide."""

    figures: Sequence[Figure]
    """The pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTable:
    """A table; columns that hold only numbers are set flush right."""

    header: Sequence[str]
    """Names of the columns, with units."""
    rows: Sequence[Sequence[str]]
    """Cells, formatted."""
    caption: str = ""
    """What the table shows."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ShapeError(f"table: {len(self.header)} columns, but a row has {len(row)} cells: {list(row)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Lines to type in a terminal."""

    lines: Sequence[str]
    """The lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A histogram, a line for each name."""

    counts: Mapping[str, int]
    """How many of each."""


Block = str | Figures | DataTable | Plot | Command | Bars
"""What a section is made of; a string is text, its empty lines part paragraphs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A chapter of the page."""

    heading: str
    """Its title."""
    blocks: Sequence[Block]
    """Its contents, from top to bottom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The page."""

    title: str
    """Its title."""
    subtitle: str = ""
    """One or two sentences under it."""
    cover: Figure | None = None
    """A wide picture before everything."""
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)
    """(name, value) pairs that hold for the whole page: model, device, time."""
    sections: Sequence[Section] = field(default_factory=tuple)
    """Its chapters."""
    closing: str = "Generated pictures show nothing that exists."
    """What is said at the end, of the pictures."""


def render_report(report: Report) -> str:
    """Return ``report`` as one HTML document.

    Raises: UsageError if the bytes of a figure are no picture.
    """
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in report.facts)
    contents = "".join(
        f'<li><a href="#section-{number}">{escape(section.heading)}</a></li>'
        for number, section in enumerate(report.sections, 1)
    )
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<header>",
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="subtitle">{escape(report.subtitle)}</p>' if report.subtitle else "",
        f'<div class="cover">{_figure(report.cover, wide=True)}</div>' if report.cover else "",
        f'<dl class="facts">{facts}</dl>' if facts else "",
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>' if len(report.sections) > 1 else "",
        "</header>\n<main>",
        *(_section(section, number) for number, section in enumerate(report.sections, 1)),
        f"</main>\n<footer><p>Made by Capriccio {escape(code_version())}. "
        f"{escape(report.closing)} This page is one file and loads nothing.</p></footer>",
        "</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def save_report(path: str | Path, report: Report) -> Path:
    """Write ``report`` to ``path``, whole or not at all."""
    path = Path(path)
    document = render_report(report).encode("utf-8", "replace")
    with replacing(path) as file:
        file.write(document)
    return path


def plot_file(plot: Plot) -> str:
    """Return ``plot`` as an SVG file of its own, in the page's colours, light and dark."""
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    drawing = plot_svg(plot)
    head, body = drawing.split(">", 1)
    ground = "svg { background: var(--paper); max-width: none; }"
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{style}{ground}</style>{body}\n'


def _section(section: Section, number: int) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    heading = f'<h2><span class="number">{number}</span>{escape(section.heading)}</h2>'
    return f'<section id="section-{number}">\n{heading}\n{blocks}\n</section>'


def _block(block: Block) -> str:
    if isinstance(block, str):
        return "\n".join(f"<p>{escape(text)}</p>" for text in re.split(r"\n\s*\n", block.strip()))
    if isinstance(block, Figures):
        return f'<div class="figures">{"".join(_figure(figure) for figure in block.figures)}</div>'
    if isinstance(block, DataTable):
        return _table(block)
    if isinstance(block, Bars):
        return _bars(block)
    if isinstance(block, Command):
        return f"<pre>{escape(chr(10).join(block.lines))}</pre>"
    caption = f"<figcaption>{escape(block.caption)}</figcaption>" if block.caption else ""
    return f'<figure class="plot-frame">{plot_svg(block)}{caption}</figure>'


def _bars(bars: Bars) -> str:
    most = max(bars.counts.values(), default=0)
    lines = [
        f'<span>{escape(name)}</span><i style="width: {100 * count / most:.1f}%"></i><span>{count:,}</span>'
        for name, count in bars.counts.items()
    ]
    return f'<div class="bars">{"".join(lines)}</div>' if most else ""


def _figure(figure: Figure, *, wide: bool = False) -> str:
    data, media_type, (width, height) = _encoded(figure.image)
    scale = figure.scale or scale_to_reach(SHOWN_SIDE, (height, width))
    style = "" if wide else f' style="width: {min(PAGE_WIDTH, width * scale)}px"'
    source = f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else ""
    # The size is stated so that nothing moves while a large page is read.
    image = f'<img width="{width}" height="{height}" alt="{escape(figure.caption)}" src="{source}">'
    return f"<figure{style}>{image}{caption}</figure>"


def _encoded(image: Image.Image | bytes) -> tuple[bytes, str, tuple[int, int]]:
    """Return a picture's file bytes, media type and (width, height)."""
    if isinstance(image, bytes):
        try:
            with Image.open(io.BytesIO(image), formats=list(_MEDIA_TYPES)) as opened:
                return image, _MEDIA_TYPES[str(opened.format)], opened.size
        except (OSError, ValueError, SyntaxError, RuntimeError) as error:
            raise UsageError(f"report: a figure's bytes are no PNG, JPEG, WebP or AVIF picture ({error}).") from error
    file = io.BytesIO()
    if image.width * image.height <= 512 * 512:
        image.save(file, format="PNG")
        return file.getvalue(), "image/png", image.size
    image.save(file, format="WEBP", quality=92)  # a large sheet as PNG would make the page many megabytes
    return file.getvalue(), "image/webp", image.size


def _table(table: DataTable) -> str:
    numeric = [bool(table.rows) and all(_is_number(row[i]) for row in table.rows) for i in range(len(table.header))]
    classes = [' class="figure-number"' if is_numeric else "" for is_numeric in numeric]
    header = "".join(
        f'<th scope="col"{mark}>{escape(name)}</th>' for name, mark in zip(table.header, classes, strict=True)
    )
    rows = "".join(
        "<tr>" + "".join(f"<td{mark}>{escape(cell)}</td>" for cell, mark in zip(row, classes, strict=True)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="table"><table>{caption}<thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>'


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[-−+]?[\d.,  ]*\d[\d.,]*\s*[%×x]?\s*", cell) is not None
