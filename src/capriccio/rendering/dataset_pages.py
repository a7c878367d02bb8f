"""Data sets as HTML pages: what became of every file of a build, and what an inspection found."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from capriccio.data.archive import PictureFiles, ZipFiles, open_files, read_index
from capriccio.data.building.report import BuildReport, Entry
from capriccio.data.inspection import Inspection
from capriccio.rendering.report import Bars, Block, DataTable, Figure, Figures, Report, Section, save_report

THUMBNAIL_SIDE = 112
"""Longer side of a picture on a contact sheet, in pixels."""

_KEPT_SHOWN = 60
_ROWS_SHOWN = 400
_PICTURES_SHOWN = 120
_GROUPS_SHOWN = 24
_DAMAGED_SHOWN = 100

Sections = list[tuple[str, Sequence[Block]]]
"""Headings, and what stands under them."""

_TITLES = {
    "duplicate": "Duplicates and near-duplicates",
    "flat": "Nearly flat",
    "borders": "Bars and frames",
    "text": "Strips of lettering",
}
_ASPECTS = {"1:3 and taller": 1 / 2.5, "1:2": 1 / 1.75, "2:3": 0.71, "3:4": 0.87, "1:1": 1.15, "4:3": 1.41, "3:2": 1.63,
            "16:9": 1.9, "2:1": 2.5, "3:1 and wider": math.inf}  # fmt: skip
"""Name of an aspect (width:height) and the width over height up to which it goes."""
_SIDES = (64, 128, 256, 512, 1024, 2048, 4096)


def save_build_page(report: BuildReport, path: Path) -> None:
    """Write what became of the files of a build; pictures are taken from the archive.

    Raises: StorageError if it cannot be written.
    """
    files = ZipFiles(report.dest)
    origins = {line["name"]: str(line.get("source", line["name"])) for line in read_index(files)["pictures"]}
    kept = [_thumbnail(files.read(name), origins[name]) for name in _evenly(files.names, _KEPT_SHOWN)]
    sections: Sections = [
        ("What became of the files", [
            _table(("files", "became"), [(f"{number:,}", status) for status, number in report.counts.items()]),
            _table(("kept files", "in which was noticed"), [(f"{n:,}", flaw) for flaw, n in report.flaws.items()]),
            *report.notes,
        ]),
        ("Why files were left out", [_reasons(report.entries)]),
        ("Aspects of the originals (width:height)", [Bars(counts=_aspects(report.entries))]),
        ("Shorter side of the originals, pixels", [Bars(counts=_sides(report.entries))]),
        ("In the archive", [Figures(figures=kept)]),
        *_examples(report, files, {origin: name for name, origin in origins.items()}),
        ("Every file that was left out or noticed", _listed(report.entries)),
    ]  # fmt: skip
    _save(path, f"Data set {report.dest.name}", f"{report}.", sections)


def save_inspection_page(inspection: Inspection, path: Path) -> None:
    """Write what an inspection found. Raises: StorageError if it cannot be written."""
    files = open_files(inspection.path)
    damaged = dict(inspection.damaged)
    shown = _evenly([name for name in files.names if name not in damaged], _PICTURES_SHOWN)
    sections: Sections = [
        ("Pictures", [Figures(figures=[_thumbnail(files.read(name), name) for name in shown])]),
        ("Mean level", [Bars(counts=inspection.brightness)]),
        ("Classes", [Bars(counts=inspection.classes)]),
        ("Licences of single pictures", [Bars(counts=inspection.licences)]),
        ("Near-duplicates", [Figures(figures=list(_groups(inspection, files)))]),
        ("Damaged", [_table(("picture", "reason"), inspection.damaged[:_DAMAGED_SHOWN])]),
        ("How it was made", [_table(("setting", "value"), [(k, str(v)) for k, v in inspection.recipe.items()])]),
    ]
    lead = "fit for training" if inspection.is_fit else "not fit for training as it is"
    title = f"Data set {inspection.path.name}"
    _save(path, title, f"{inspection.count:,} pictures, {lead}.", sections, facts=inspection.rows())


def _save(
    path: Path,
    title: str,
    subtitle: str,
    sections: Sections,
    *,
    facts: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the page; what would be empty is left out."""
    filled = [(heading, [block for block in blocks if not _is_empty(block)]) for heading, blocks in sections]
    chapters = [Section(heading=heading, blocks=blocks) for heading, blocks in filled if blocks]
    closing = "The pictures belong to whoever took them."
    save_report(path, Report(title=title, subtitle=subtitle, facts=facts, sections=chapters, closing=closing))


def _is_empty(block: Block) -> bool:
    if isinstance(block, Figures):
        return not block.figures
    if isinstance(block, Bars):
        return not any(block.counts.values())
    return isinstance(block, DataTable) and not block.rows


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> DataTable:
    return DataTable(header=header, rows=rows)


def _thumbnail(data: bytes, caption: str) -> Figure:
    """Return an encoded picture at the size of a contact sheet."""
    with Image.open(io.BytesIO(data)) as image:
        plain = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
        plain.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        plain.save(file, "WEBP", quality=80)
    return Figure(image=file.getvalue(), caption=caption, scale=max(1, round(THUMBNAIL_SIDE / max(plain.size))))


def _evenly(names: Sequence[str], most: int) -> list[str]:
    """Return at most ``most`` of the names, spread over all of them."""
    step = max(1.0, len(names) / most)
    return [names[int(i * step)] for i in range(min(most, len(names)))]


def _groups(inspection: Inspection, files: PictureFiles) -> Iterator[Figure]:
    """Yield two pictures of every group of near-duplicates, side by side."""
    for number, group in enumerate(inspection.alike[:_GROUPS_SHOWN], 1):
        for name in group[:2]:
            yield _thumbnail(files.read(name), f"{number}: {name}")


def _examples(report: BuildReport, files: ZipFiles, sources: dict[str, str]) -> Iterator[tuple[str, Sequence[Block]]]:
    """Yield a section for each kind of flaw; duplicates stand beside what they resemble."""
    status = {entry.file: entry.status for entry in report.entries}
    for kind in dict.fromkeys(example.kind for example in report.examples):
        figures = []
        for example in (example for example in report.examples if example.kind == kind):
            figures.append(_thumbnail(example.picture, f"{example.file}: {status.get(example.file, '')}"))
            if twin := sources.get(example.twin or ""):
                figures.append(_thumbnail(files.read(twin), f"beside it {example.twin}"))
        yield _TITLES.get(kind, kind.capitalize()), [Figures(figures=figures)]


def _reasons(entries: Iterable[Entry]) -> DataTable:
    """Return a table of reasons with numbers; what differs from file to file is cut off."""
    counts = Counter(
        (entry.status, entry.reason.split(":")[0].split(" '")[0].split(" (")[0])
        for entry in entries
        if entry.status != "kept"
    )
    return _table(("files", "status", "reason"), [(f"{number:,}", *key) for key, number in counts.most_common()])


def _listed(entries: Iterable[Entry]) -> list[Block]:
    listed = [entry for entry in entries if entry.status != "kept" or entry.reason]
    rows = [(entry.file, entry.status, entry.reason) for entry in listed[:_ROWS_SHOWN]]
    blocks: list[Block] = [_table(("file", "status", "reason"), rows)]
    if len(listed) > _ROWS_SHOWN:
        blocks.append(f"And {len(listed) - _ROWS_SHOWN:,} more; --report has all of them.")
    return blocks


def _aspects(entries: Iterable[Entry]) -> dict[str, int]:
    counts = dict.fromkeys(_ASPECTS, 0)
    for height, width in (entry.size for entry in entries if entry.size):
        counts[next(name for name, most in _ASPECTS.items() if width / height <= most)] += 1
    return _trimmed(counts)


def _sides(entries: Iterable[Entry]) -> dict[str, int]:
    names = [f"under {_SIDES[0]}", *(f"{side} and up" for side in _SIDES)]
    counts = dict.fromkeys(names, 0)
    for size in (entry.size for entry in entries if entry.size):
        counts[names[sum(min(size) >= side for side in _SIDES)]] += 1
    return _trimmed(counts)


def _trimmed(counts: dict[str, int]) -> dict[str, int]:
    """Return the histogram without empty lines at its ends."""
    names = list(counts)
    filled = [i for i, name in enumerate(names) if counts[name]]
    return {name: counts[name] for name in names[filled[0] : filled[-1] + 1]} if filled else {}
