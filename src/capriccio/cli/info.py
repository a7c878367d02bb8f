"""``capriccio info MODEL``: what a network file says about itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from capriccio.cli.parser import MODEL_HELP, CommandParser
from capriccio.errors import UsageError
from capriccio.wording import counted, listed

_LONGEST_LIST = 16
_SAID_BY_SHAPE = ("c_dim", "channels", "height", "width")
_STYLE: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 120}


def run(argv: Sequence[str]) -> int:
    """Print the header of a snapshot, or the one that a network of another program would get."""
    asked = _parser().read(argv)
    if asked.MODEL is not None and asked.model is not None:
        raise UsageError(f"'{asked.MODEL}' and --model '{asked.model}' say the same thing; give one of them.")
    from capriccio.interop.foreign import is_foreign, read_network
    from capriccio.loading.model import find_snapshot
    from capriccio.snapshots.snapshot import header_of, read_header

    path = find_snapshot(asked.model if asked.model is not None else asked.MODEL)
    facts = header_of(read_network(path)) if is_foreign(path) else read_header(path)
    header = {"file": str(path), **facts}
    if asked.json:
        print(json.dumps(header, ensure_ascii=False))
    else:
        about, built = _for_people(header)
        print(yaml.safe_dump(about, default_flow_style=False, **_STYLE), end="")
        print(yaml.safe_dump(built, default_flow_style=None, **_STYLE), end="")
    return 0


def _for_people(header: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a header as people read it: what the network is and may be used for, and how it is built."""
    built = dict(header)
    shape, c_dim = built["generator"]["shape"], built["generator"]["c_dim"]
    card, data, calibration = (built.pop(name) for name in ("card", "data", "calibration"))
    about = {
        "file": built.pop("file"),
        **{name: card[name] for name in ("title", "description") if name in card},
        "shape": f"{shape['height']}×{shape['width']}, {shape['channels']} channels" + _about_labels(c_dim, data),
        "data": _about_data(data),
        "licence": built.pop("licence"),
        "nimg": built.pop("nimg"),
        "software": built.pop("software"),
        "card": {name: value for name, value in card.items() if name not in ("title", "description")},
        "calibration": _about_calibration(calibration),
    }
    return about, _shortened(built)


def _about_labels(c_dim: int, data: dict[str, Any]) -> str:
    if not c_dim or data.get("vector_labels"):
        return f", labels of {counted(c_dim, 'number')}" if c_dim else ""
    names = data.get("class_names") or []
    told = f" ({listed(names)})" if names else ""
    return f", {counted(c_dim, 'class', 'classes')}{told}"


def _about_data(data: dict[str, Any]) -> dict[str, Any]:
    """Return what is known about the data, without what the shape says, and how many pictures were held out."""
    told = {name: value for name, value in data.items() if name not in _SAID_BY_SHAPE and value != []}
    if "heldout" in told:
        told["heldout"] = f"{len(told['heldout'])} pictures (--json has their names)"
    return told


def _about_calibration(calibration: dict[str, Any]) -> str:
    if not calibration:
        return "none; 'capriccio calibrate' makes one for detect"
    made, real = (len(calibration.get(name, ())) for name in ("made", "real"))
    return f"version {calibration.get('version')}, by {made} made and {real} real pictures"


def _shortened(value: Any) -> Any:
    """Return ``value`` with long lists cut for reading."""
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
        help=MODEL_HELP,
    )  # fmt: skip
    parser.add_argument("-m", "--model", type=str | None, default=None, help="The same, as other commands have it.")
    parser.add_argument("--json", action="store_true", help="Print everything as one JSON document.")
    return parser
