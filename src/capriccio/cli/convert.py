"""``capriccio convert SRC DEST``: networks and latents of other programs in, and ours out to them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from capriccio.cli.parser import CommandParser, add_force, new_file
from capriccio.errors import UsageError


def run(argv: Sequence[str]) -> int:
    """Write the converted file and tell how far its pictures are from those of the source."""
    asked = _parser().read(argv)
    source, destination = Path(asked.SRC), new_file(asked.DEST, "DEST", force=asked.force)
    to = asked.to or _implied(destination)
    from capriccio.latent.files import is_latents_file

    if is_latents_file(source):
        if to == "rosinality" or asked.dtype != "float32" or asked.slim or asked.tuning or asked.generator != "G_ema":
            raise UsageError(
                f"'{source}' holds latents: they are converted to ours or --to nvidia, and --dtype, --slim, --tuning "
                "and --generator are about networks."
            )
        return _convert_latents(source, destination, to, as_json=asked.json)
    from capriccio.interop.convert import convert
    from capriccio.loading.model import find_snapshot

    path = find_snapshot(asked.SRC)
    report = convert(
        path, destination, to=to, which=asked.generator, dtype=asked.dtype, slim=asked.slim, tuning=asked.tuning
    )
    if asked.json:
        print(json.dumps({"file": str(destination), **dataclasses.asdict(report)}))
        return 0
    size = destination.stat().st_size / 1e6
    parts = "generator and discriminator" if report.has_discriminator else "generator"
    told = f"{parts} of {report.shape}, from {report.source}, {report.model_hash}"
    print(f"'{destination}' ({to}, {size:.1f} MB): {told}.")
    difference = report.difference
    if difference.largest == 0:
        print("Eight test seeds give identical pictures.")
    else:
        mean, largest = difference.mean, difference.largest
        print(f"Eight test seeds differ by {mean:.3g} of 255 grey levels on average, {largest:.3g} at most.")
    for warning in report.warnings:
        print(warning)
    return 0


def _implied(destination: Path) -> Literal["snapshot", "nvidia"]:
    if destination.suffix == ".npz":
        return "nvidia"
    if destination.suffix == ".pt":
        raise UsageError("a .pt file can be two things: say --to rosinality or --to nvidia.")
    return "snapshot"


def _convert_latents(source: Path, destination: Path, to: str, *, as_json: bool) -> int:
    from capriccio.latent.files import load_latents, save_latents, save_projected_w

    latents = load_latents(source)
    if to == "nvidia":
        save_projected_w(destination, latents)
    else:
        save_latents(destination, latents)
    told = f"{len(latents)} latents of {latents.ws.shape[1]} rows of {latents.ws.shape[2]}"
    print(json.dumps({"file": str(destination), "latents": len(latents)}) if as_json else f"'{destination}': {told}.")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "convert",
        "Turn network files of other programs into snapshots, and snapshots into what other programs read. Nothing in "
        "a file is executed. Reads NVIDIA's pickles (StyleGAN2-ADA, StyleGAN3's stylegan2 configuration, TensorFlow), "
        "rosinality's checkpoints, state dictionaries under NVIDIA's names, and latents.",
        "SRC DEST [--to snapshot|rosinality|nvidia] [flags]",
        needed=("SRC", "DEST"),
    )
    parser.add_argument("SRC", nargs="?", type=str | None, default=None, help="File to read, whatever its ending.")
    parser.add_argument("DEST", nargs="?", type=str | None, default=None, help="File to write.")
    parser.add_argument(
        "--to", type=Literal["snapshot", "rosinality", "nvidia"] | None, default=None,
        help="snapshot: ours (.safetensors); rosinality: a checkpoint (.pt); nvidia: tensors under NVIDIA's "
        "names (.pt or .safetensors), or latents as projected_w.npz; null = by the ending of DEST.",
    )  # fmt: skip
    parser.add_argument(
        "--generator", type=Literal["G_ema", "G"], default="G_ema", help="The averaged generator, or the raw one."
    )
    parser.add_argument(
        "--dtype", type=Literal["float32", "float16"], default="float32",
        help="How numbers are stored; float16 halves the file, and the difference is measured and told.",
    )  # fmt: skip
    parser.add_argument(
        "--tuning", type=str | None, default=None,
        help="File of 'project --tune' whose change is written into the network, so that it is one of its own.",
    )  # fmt: skip
    parser.add_argument("--slim", action="store_true", help="Leave the discriminator out.")
    add_force(parser, "DEST")
    parser.add_argument("--json", action="store_true", help="Print what was done as one JSON document.")
    return parser
