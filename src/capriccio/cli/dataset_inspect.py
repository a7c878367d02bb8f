"""``capriccio dataset inspect DATA``: is it sound, what is in it, what does it look like?"""

from __future__ import annotations

import json
from argparse import SUPPRESS
from collections.abc import Sequence

from capriccio.cli.parser import CommandParser, checked_path, existing
from capriccio.cli.progress import shown_progress
from capriccio.data.inspection import Inspection, inspect_dataset

_LISTED = 10


def run(argv: Sequence[str]) -> int:
    """Print what is in the data set; exit code 1 when something is damaged."""
    asked = _parser().read(argv)
    path, html = existing(asked.DATA, "DATA"), checked_path(asked.html, ".html", "--html")
    with shown_progress("reading pictures") as progress:
        inspection = inspect_dataset(path, progress=progress)
    if html is not None:
        from capriccio.rendering.dataset_pages import save_inspection_page

        save_inspection_page(inspection, html)
    if asked.json:
        print(json.dumps(inspection.to_dict(), ensure_ascii=False))
    else:
        _tell(inspection)
    return 1 if inspection.damaged else 0


def _tell(inspection: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=False)
    for name, value in inspection.rows():
        table.add_row(name, value)
    for name, number in list(inspection.classes.items())[:_LISTED]:
        table.add_row(f"  {name}", f"{number:,}")
    Console(markup=False, highlight=False, emoji=False).print(table)
    for group in inspection.alike[:_LISTED]:
        print(f"alike: {', '.join(group)}")
    for name, reason in inspection.damaged[:_LISTED]:
        print(f"damaged: {name}: {reason}")


def _parser() -> CommandParser:
    parser = CommandParser(
        "dataset inspect",
        "Read every picture of an archive or folder: sizes, labels, licence, near-duplicates, damage.",
        "DATA [--html FILE.html] [--json]",
        needed=("DATA",),
    )
    parser.add_argument("DATA", nargs="?", type=str, default=SUPPRESS, help="Archive or folder of pictures.")
    parser.add_argument("--html", type=str, help="Also write a page with a contact sheet.", metavar="FILE.html")
    parser.add_argument("--json", action="store_true", help="Print everything as one JSON document.")
    return parser
