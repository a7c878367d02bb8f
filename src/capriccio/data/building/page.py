"""The report of a build as one HTML page: what was kept, what was left out and why, and what to look at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from capriccio.data.archive import ZipFiles, read_index
from capriccio.data.building.report import BuildReport, Entry
from capriccio.data.pages import Figure, bars, evenly, page, paragraph, save_page, section, sheet, small, table

_KEPT_SHOWN = 60
_ROWS_SHOWN = 400

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


def save_report_page(report: BuildReport, path: Path) -> None:
    """Write the page; pictures are taken from the archive. Raises: StorageError if it cannot be written."""
    files = ZipFiles(report.dest)
    lines = read_index(files)["pictures"]
    origins = {line["name"]: str(line.get("source", line["name"])) for line in lines}
    sources = {origin: name for name, origin in origins.items()}
    parts = [
        table(("files", "became"), [(number, status) for status, number in report.counts.items()]),
        table(("kept files", "in which was noticed"), [(number, flaw) for flaw, number in report.flaws.items()]),
        *map(paragraph, report.notes),
        section("Why files were left out", _reasons(report.entries)),
        section("Aspects of the originals (width:height)", bars(_aspects(report.entries))),
        section("Shorter side of the originals, pixels", bars(_sides(report.entries))),
        section(
            "In the archive",
            sheet(Figure((small(files.read(name)),), origins[name]) for name in evenly(files.names, _KEPT_SHOWN)),
        ),
        *_examples(report, files, sources),
        section("Every file that was left out or noticed", _rows(report.entries)),
    ]
    save_page(path, page(f"Data set {report.dest.name}", f"{report}.", parts))


def _examples(report: BuildReport, files: ZipFiles, sources: dict[str, str]) -> Iterable[str]:
    """Yield a sheet per kind of flaw; duplicates stand beside what they resemble."""
    status = {entry.file: entry.status for entry in report.entries}
    for kind in dict.fromkeys(example.kind for example in report.examples):
        figures = []
        for example in (example for example in report.examples if example.kind == kind):
            twin = sources.get(example.twin or "")
            pictures = (example.picture, small(files.read(twin))) if twin else (example.picture,)
            beside = f" beside {example.twin}" if twin else ""
            figures.append(Figure(pictures, f"{example.file}{beside}: {status.get(example.file, '')}"))
        yield section(_TITLES.get(kind, kind.capitalize()), sheet(figures))


def _reasons(entries: Iterable[Entry]) -> str:
    """Return a table of reasons with numbers; what differs from file to file is cut off."""
    counts = Counter(
        (entry.status, entry.reason.split(":")[0].split(" '")[0].split(" (")[0])
        for entry in entries
        if entry.status != "kept"
    )
    return table(("files", "status", "reason"), [(number, *key) for key, number in counts.most_common()])


def _rows(entries: Iterable[Entry]) -> str:
    listed = [entry for entry in entries if entry.status != "kept" or entry.reason]
    more = f"and {len(listed) - _ROWS_SHOWN:,} more; --report has all of them." if len(listed) > _ROWS_SHOWN else ""
    rows = [(entry.file, entry.status, entry.reason) for entry in listed[:_ROWS_SHOWN]]
    return table(("file", "status", "reason"), rows) + paragraph(more)


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
