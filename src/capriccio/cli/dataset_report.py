"""How the commands that make an archive tell what they made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from jsonargparse import Namespace

from capriccio.cli.parser import CommandParser, checked_path
from capriccio.data.building.report import BuildReport

_LISTED = 20
"""Files named on the console; the report file has all."""


def add_report_flags(parser: CommandParser) -> None:
    """Add the flags that say where the report goes."""
    add = parser.add_argument
    add("--report", type=str, metavar="FILE.json", help="Also write what became of every file, as JSON.")
    add("--html", type=str, metavar="FILE.html", help="Also write the report as one page with pictures.")
    add("--json", action="store_true", help="Print the report as one JSON document.")


def report_paths(asked: Namespace) -> tuple[Path | None, Path | None]:
    """Return where the report goes as JSON and as a page, before any work. Raises: UsageError for a wrong ending."""
    return checked_path(asked.report, ".json", "--report"), checked_path(asked.html, ".html", "--html")


def save_report(report: BuildReport, paths: tuple[Path | None, Path | None]) -> None:
    """Write the report where :func:`report_paths` says. Raises: StorageError if it cannot be written."""
    as_json, as_page = paths
    if as_json is not None:
        report.save_json(as_json)
    if as_page is not None:
        from capriccio.rendering.dataset_pages import save_build_page

        save_build_page(report, as_page)


def tell_report(report: BuildReport, *, as_json: bool) -> None:
    """Print what became of the files, for people or as one JSON document."""
    if as_json:
        print(json.dumps(_document(report), ensure_ascii=False))
        return
    print(f"{report}.")
    if report.entries:
        _print_table(report)
    for line in _lines(report):
        print(f"  {line}")


def _document(report: BuildReport) -> dict[str, object]:
    skipped = [dataclasses.asdict(skipped) for skipped in report.skipped]
    facts = {"dest": str(report.dest), "count": report.count, "height": report.height, "width": report.width}
    if not report.entries:
        return facts | {"skipped": skipped}
    return facts | {"added": report.added, "counts": report.counts, "flaws": report.flaws, "skipped": skipped}


def _print_table(report: BuildReport) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("files", justify="right", no_wrap=True)
    table.add_column("became", no_wrap=True)
    table.add_column("for example", overflow="ellipsis", no_wrap=True, ratio=1)
    for status, number in report.counts.items():
        example = next(entry for entry in report.entries if entry.status == status)
        table.add_row(f"{number:,}", status, f"{example.file}: {example.reason}" if status != "kept" else "")
    for flaw, number in report.flaws.items():
        example = next(entry for entry in report.entries if entry.status == "kept" and flaw in entry.flaws)
        table.add_row(f"{number:,}", f"kept, noticed: {flaw}", f"{example.file}: {example.reason}")
    Console(markup=False, highlight=False, emoji=False).print(table)


def _lines(report: BuildReport) -> Iterator[str]:
    yield from report.notes
    for skipped in report.skipped[:_LISTED]:
        yield f"left out: {skipped.name}: {skipped.reason}"
    if (more := len(report.skipped) - _LISTED) > 0:
        yield f"and {more:,} more; --report FILE.json lists all."
