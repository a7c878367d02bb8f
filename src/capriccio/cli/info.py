"""``capriccio info MODEL``: what a network file says about itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from capriccio.cli.parser import CommandParser

_LONGEST_LIST = 16


def run(argv: Sequence[str]) -> int:
    """Print the header of a snapshot, or the one that a network of another program would get."""
    asked = _parser().read(argv)
    from capriccio.interop.foreign import is_foreign, read_network
    from capriccio.loading.model import find_snapshot
    from capriccio.snapshots.snapshot import header_of, read_header

    path = find_snapshot(asked.model if asked.model is not None else asked.MODEL)
    facts = header_of(read_network(path)) if is_foreign(path) else read_header(path)
    header = {"file": str(path), **facts}
    if asked.json:
        print(json.dumps(header, ensure_ascii=False))
    else:
        print(yaml.safe_dump(_shortened(header), sort_keys=False, allow_unicode=True), end="")
    return 0


def _shortened(value: Any) -> Any:
    """Return ``value`` with long lists, such as the names of held-out pictures, cut for reading."""
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > _LONGEST_LIST:
        return [*value[:_LONGEST_LIST], f"… and {len(value) - _LONGEST_LIST} more (--json has all)"]
    return value


def _parser() -> CommandParser:
    parser = CommandParser(
        "info",
        "Print what a network file says about itself: its configuration, training, data, numbers and licence.",
        "[MODEL] [--json]",
    )
    parser.add_argument(
        "MODEL", nargs="?", type=str | None, default=None,
        help="Snapshot, run folder (its newest snapshot) or name of a bundled model; null = the best bundled one.",
    )  # fmt: skip
    parser.add_argument("-m", "--model", type=str | None, default=None, help="The same, as other commands have it.")
    parser.add_argument("--json", action="store_true", help="Print everything as one JSON document.")
    return parser
