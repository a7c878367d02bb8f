"""``capriccio dataset add SRC... DEST``: an archive grows; a run on it can go on with ``--resume``."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Sequence

from capriccio.cli.dataset_build import split_paths
from capriccio.cli.dataset_report import add_report_flags, report_paths, save_report, tell_report
from capriccio.cli.parser import CommandParser, existing
from capriccio.cli.progress import shown_progress
from capriccio.data.building.build import grow_dataset


def run(argv: Sequence[str]) -> int:
    """Add what is new and print what became of the files."""
    parser = _parser()
    asked = parser.read(argv)
    sources, dest = split_paths(asked, parser.usage or "")
    existing(dest, "DEST")
    paths = report_paths(asked)
    with shown_progress("adding pictures") as progress:
        report = grow_dataset(
            sources, dest, labels=asked.labels, licence=asked.licence, workers=asked.workers, progress=progress
        )
    save_report(report, paths)
    tell_report(report, as_json=asked.json)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "dataset add",
        "Add new pictures to an archive, by the settings it was built with. Old ones keep names and places.",
        "SRC... DEST [flags]",
    )
    parser.add_argument(
        "PATHS", nargs="*", type=str, default=SUPPRESS, metavar="SRC... DEST",
        help="Sources as of 'dataset build'; then the archive.",
    )  # fmt: skip
    parser.add_argument("--labels", type=str | None, help="Labels of the new pictures; default as the archive's.")
    parser.add_argument("--licence", type=str | None, help="Licence of the new pictures; default the archive's.")
    parser.add_argument("--workers", type=int | None, help="Processes; default one per processor.")
    add_report_flags(parser)
    return parser
