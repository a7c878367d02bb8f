"""Self-contained HTML pages about pictures: sheets, bars and tables, with nothing to fetch from anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from capriccio.durable import replacing

SHEET_SIDE = 112
"""Longer side of a picture on a sheet, in pixels."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1b; --soft: #6b6b66; --paper: #fbfaf7; --line: #dddad2; --mark: #3f6f8f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceae4; --soft: #a3a19a; --paper: #1a1a19; --line: #3a3936; --mark: #7fb2d3; }
}
body { margin: 2.5rem auto; max-width: 68rem; padding: 0 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-weight: 600; margin-bottom: .2rem; } h2 { font-weight: 600; margin: 2.2rem 0 .4rem; font-size: 1.15rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
table { border-collapse: collapse; margin: .6rem 0; }
td, th { text-align: left; padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; }
.wide { overflow-x: auto; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.sheet { display: flex; flex-wrap: wrap; gap: .6rem; margin: .6rem 0; }
figure { margin: 0; width: 7rem; } figure.pair { width: 14.4rem; }
figure .side { display: flex; gap: .4rem; align-items: flex-end; }
img { display: block; width: 7rem; max-height: 10.5rem; object-fit: contain; border-radius: 2px;
  background: repeating-conic-gradient(#bbb 0 25%, #ddd 0 50%) 0 0 / 12px 12px; }
figcaption { font-size: .72rem; line-height: 1.3; color: var(--soft); overflow-wrap: anywhere; margin-top: .2rem; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .15rem .8rem; max-width: 40rem;
  font-variant-numeric: tabular-nums; font-size: .9rem; }
.bars i { display: block; height: .75rem; margin-top: .35rem; background: var(--mark); border-radius: 2px; }
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture on a sheet, or two side by side."""

    pictures: tuple[bytes, ...]
    """Encoded files; one, or two to compare."""
    caption: str


def page(title: str, lead: str, parts: Iterable[str]) -> str:
    """Return a whole page. ``title`` and ``lead`` are plain text, ``parts`` are HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        f'<h1>{escape(title)}</h1><p class="soft">{escape(lead)}</p>\n' + "\n".join(parts) + "\n</body></html>\n"
    )


def save_page(path: Path, html: str) -> None:
    """Write a page. Raises: StorageError if it cannot be written."""
    with replacing(path) as file:
        file.write(html.encode("utf-8", "replace"))


def section(heading: str, *parts: str) -> str:
    """Return a heading in plain text and what stands under it, or nothing when there is nothing."""
    return f"<h2>{escape(heading)}</h2>\n" + "\n".join(parts) if any(parts) else ""


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{escape(text)}</p>" if text else ""


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; numbers stand to the right."""

    def cell(value: object, tag: str) -> str:
        number = ' class="number"' if isinstance(value, int | float) else ""
        text = f"{value:,}" if isinstance(value, int) else str(value)
        return f"<{tag}{number}>{escape(text)}</{tag}>"

    lines = ["<tr>" + "".join(cell(value, "td") for value in row) + "</tr>" for row in rows]
    head = "<tr>" + "".join(cell(name, "th") for name in header) + "</tr>" if header else ""
    return f'<div class="wide"><table>{head}{"".join(lines)}</table></div>' if lines else ""


def bars(counts: Mapping[str, int]) -> str:
    """Return a histogram with a line per name."""
    most = max(counts.values(), default=0)
    lines = [
        f'<span>{escape(name)}</span><i style="width:{100 * count / most:.1f}%"></i><span>{count:,}</span>'
        for name, count in counts.items()
    ]
    return f'<div class="bars">{"".join(lines)}</div>' if most else ""


def sheet(figures: Iterable[Figure]) -> str:
    """Return a contact sheet."""
    shown = [
        f'<figure{" class=pair" if len(figure.pictures) > 1 else ""}><div class="side">'
        + "".join(f'<img alt="" src="{_embedded(data)}">' for data in figure.pictures)
        + f"</div><figcaption>{escape(figure.caption)}</figcaption></figure>"
        for figure in figures
    ]
    return f'<div class="sheet">{"".join(shown)}</div>' if shown else ""


def small(data: bytes) -> bytes:
    """Return an encoded picture at the size of a sheet, as WebP."""
    with Image.open(io.BytesIO(data)) as image:
        plain = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
        plain.thumbnail((SHEET_SIDE, SHEET_SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        plain.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def evenly(names: Sequence[str], most: int) -> list[str]:
    """Return at most ``most`` of the names, spread over all of them."""
    step = max(1.0, len(names) / most)
    return [names[int(i * step)] for i in range(min(most, len(names)))]


def _embedded(data: bytes) -> str:
    kind = "image/webp" if data[:4] == b"RIFF" else "image/jpeg" if data[:2] == b"\xff\xd8" else "image/png"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
