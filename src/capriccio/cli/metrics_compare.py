"""``capriccio metrics compare A B``: numbers of two networks side by side, if they were measured alike."""

from __future__ import annotations

import dataclasses
import json
from argparse import SUPPRESS
from collections.abc import Sequence

from capriccio.cli.parser import CommandParser


def run(argv: Sequence[str]) -> int:
    """Print the comparison; refuse unlike cards."""
    asked = _parser().read(argv)
    from capriccio.metrics.results import compare, read_evaluation

    first, second = read_evaluation(asked.A), read_evaluation(asked.B)
    found = compare(first, second, ignore=asked.ignore.split(","))
    if asked.json:
        print(json.dumps([dataclasses.asdict(c) for c in found]))
        return 0
    width = max(len(c.name) for c in found) + 2
    print(f"A: {first.subject}\nB: {second.subject}")
    print(f"{'':<{width}}{'A':>12}{'B':>12}{'B − A':>12}{'noise':>12}")
    for c in found:
        noise = "not known" if c.noise is None else f"± {c.noise:.3g}"
        print(f"{c.name:<{width}}{c.first:>12.5g}{c.second:>12.5g}{c.second - c.first:>12.4g}{noise:>12}")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "metrics compare",
        "Compare two evaluations written by 'capriccio metrics --out FILE'. Numbers measured in two ways are refused.",
        "A B [--ignore seed,code]",
        needed=("A", "B"),
    )
    parser.add_argument("A", nargs="?", type=str, default=SUPPRESS, help="File of the first evaluation.")
    parser.add_argument("B", nargs="?", type=str, default=SUPPRESS, help="File of the second evaluation.")
    parser.add_argument(
        "--ignore", type=str, default="", help="Entries of the cards that may differ, such as seed,code; at your risk."
    )
    parser.add_argument("--json", action="store_true", help="Print the comparison as one JSON document.")
    return parser
