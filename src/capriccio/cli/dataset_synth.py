"""``capriccio dataset synth DEST --count N --size S --seed K``: painted landscapes, free of anybody's rights."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Sequence
from pathlib import Path

from capriccio.cli.dataset_report import tell_report
from capriccio.cli.parser import CommandParser, add_force, parse_size
from capriccio.cli.progress import shown_progress
from capriccio.data.landscapes.archive import synthesize
from capriccio.data.writer import ImageFormat


def run(argv: Sequence[str]) -> int:
    """Paint the archive and say what is in it."""
    asked = _parser().read(argv)
    size = parse_size(asked.size, "--size")
    with shown_progress("painting landscapes") as progress:
        report = synthesize(
            Path(asked.DEST),
            asked.count,
            size=size,
            seed=asked.seed,
            image_format=asked.format,
            force=asked.force,
            progress=progress,
        )
    tell_report(report, as_json=asked.json)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "dataset synth",
        "Paint landscapes: free of anybody's rights, for trying things out; no substitute for photographs.",
        "DEST [--count N] [--size S] [--seed K]",
        needed=("DEST",),
    )
    parser.add_argument("DEST", nargs="?", type=str, default=SUPPRESS, help="Archive to write, such as painted.zip.")
    parser.add_argument("--count", type=int, default=1000, help="Number of pictures.")
    parser.add_argument("--size", type=str, default="64", help="Size in pixels: S, or HxW as in 256x384.")
    parser.add_argument("--seed", type=int, default=0, help="Another seed paints other landscapes.")
    parser.add_argument("--format", type=ImageFormat, default="webp", help="How pictures are stored.")
    add_force(parser, "DEST")
    parser.add_argument("--json", action="store_true", help="Print the report as one JSON document.")
    return parser
