"""``capriccio export --model M --format onnx|torch|web --out PATH``: a network for programs that are not this one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from capriccio.cli.parser import MODEL_HELP, CommandParser, add_force, checked_path, folder_to_write, new_file
from capriccio.errors import UsageError

_SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
"""Endings of what is one file."""


def run(argv: Sequence[str]) -> int:
    """Write the export, compare its pictures with PyTorch's, and tell the difference."""
    asked = _parser().read(argv)
    if not asked.tolerance > 0:
        raise UsageError(f"--tolerance must be above 0, got {asked.tolerance:g}.")
    if asked.runtime is not None and asked.format != "web":
        raise UsageError("--runtime is the browser's part of --format web; leave it out.")
    out = Path(asked.out)
    if asked.format == "web":
        folder_to_write(out, "--out")
    else:
        checked_path(asked.out, _SUFFIXES[asked.format], "--out")
        new_file(out, "--out", force=asked.force)
    from capriccio.data.cache import cache_folder
    from capriccio.interop.export import export_torch
    from capriccio.interop.export_web import export_web
    from capriccio.interop.foreign import read_network
    from capriccio.interop.onnx_file import export_onnx
    from capriccio.loading.model import find_snapshot

    snapshot = read_network(find_snapshot(asked.model))
    how = {"noise": asked.noise, "cutoff": asked.cutoff, "tolerance": asked.tolerance}
    if asked.format == "onnx":
        report = export_onnx(snapshot, out, **how)
    elif asked.format == "torch":
        report = export_torch(snapshot, out, **how)
    else:
        runtime = None if asked.runtime is None else Path(asked.runtime)
        report = export_web(snapshot, out, cache=cache_folder() / "npm", runtime=runtime, **how)
    if asked.json:
        told = {
            "files": [str(path) for path in report.files],
            "format": report.format,
            "inputs": report.inputs,
            "checked_batches": list(report.checked_batches),
            "largest_difference": report.largest_difference,
            "tolerance": report.tolerance,
            "runtime": report.runtime,
        }
        print(json.dumps(told))
        return 0
    size = sum(path.stat().st_size for path in report.files) / 1e6
    print(f"The {report.format} export is '{out}', {size:.1f} MB. {report.sentence()}")
    if asked.format == "web":
        print(f"Any server of files shows it: python -m http.server --directory '{out}' 8000")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "export",
        "Write a network for other programs, and compare the pictures of what was written with PyTorch's.",
        "[--model M] --format onnx|torch|web --out PATH [flags]",
        needed=("--format", "--out"),
    )
    parser.add_argument("-m", "--model", type=str | None, default=None, help=MODEL_HELP)
    parser.add_argument(
        "--format", type=Literal["onnx", "torch", "web"] | None, default=None,
        help="onnx: an ONNX file; torch: a torch.export package (.pt2); web: a folder with a page that paints.",
    )  # fmt: skip
    parser.add_argument("--out", type=str | None, default=None, help="File to write, .onnx or .pt2; for web, a folder.")
    add_force(parser, "the file of --out")
    parser.add_argument(
        "--noise", type=Literal["const", "none", "input"], default="const",
        help="const: the network's own maps, inside the file; none; input: one map per layer as inputs.",
    )  # fmt: skip
    parser.add_argument(
        "--cutoff", type=int | None, default=None, help="Let psi move this many rows, counted from coarse; null = all."
    )
    parser.add_argument(
        "--tolerance", type=float, default=1e-3,
        help="Largest difference to PyTorch's pictures, of -1..1, at which the export is still written.",
    )  # fmt: skip
    parser.add_argument(
        "--runtime", type=str | None, default=None,
        help="For web: the npm tarball of onnxruntime-web; null = fetched once with npm.",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="Print the report as one JSON document.")
    return parser
