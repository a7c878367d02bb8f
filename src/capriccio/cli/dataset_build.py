"""``capriccio dataset build SRC DEST --size S``: photographs to a training archive."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Sequence
from pathlib import Path

from capriccio.cli.dataset_report import tell_report
from capriccio.cli.parser import CommandParser, existing, parse_size
from capriccio.cli.progress import shown_progress
from capriccio.data.building.build import build_dataset
from capriccio.data.building.recipe import Recipe
from capriccio.data.card import LICENCE_NOT_STATED
from capriccio.data.writer import ImageFormat


def run(argv: Sequence[str]) -> int:
    """Build the archive and print what became of the files."""
    asked = _parser().read(argv)
    source, size = existing(asked.SRC, "SRC"), parse_size(asked.size, "--size")
    with shown_progress("preparing pictures") as progress:
        report = build_dataset(
            source,
            Path(asked.DEST),
            size=size,
            recipe=Recipe(image_format=asked.format),
            licence=asked.licence,
            progress=progress,
        )
    tell_report(report, as_json=asked.json)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "dataset build",
        "Cut and reduce photographs to one size, into a training archive. Damaged and small ones are listed.",
        "SRC DEST --size S [flags]",
        needed=("SRC", "DEST", "--size"),
    )
    parser.add_argument("SRC", nargs="?", type=str, default=SUPPRESS, help="Folder or zip of photographs.")
    parser.add_argument("DEST", nargs="?", type=str, default=SUPPRESS, help="Archive to write, such as landscapes.zip.")
    parser.add_argument("--size", type=str, help="Size in pixels: S, or HxW as in 256x384.")
    parser.add_argument("--format", type=ImageFormat, default="webp", help="How pictures are stored.")
    parser.add_argument(
        "--licence", type=str, default=LICENCE_NOT_STATED, help="Licence of the photographs, for the cards of networks."
    )
    parser.add_argument("--json", action="store_true", help="Print the report as one JSON document.")
    return parser
