"""``capriccio dataset build SRC... DEST --size S``: pictures of any kind to a training archive."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from PIL import ImageColor

from capriccio.cli.dataset_report import add_report_flags, report_paths, save_report, tell_report
from capriccio.cli.parser import CommandParser, add_force, existing, parse_size
from capriccio.cli.progress import shown_progress
from capriccio.config import SubjectName
from capriccio.data.building.build import build_dataset
from capriccio.data.building.recipe import CropPolicy, FlawPolicy, Recipe, ResampleFilter
from capriccio.data.card import LICENCE_NOT_STATED
from capriccio.data.shards import expand_braces, is_url
from capriccio.data.writer import ImageFormat
from capriccio.errors import UsageError
from capriccio.subjects import SUBJECTS

_CHANNELS = {"grey": 1, "rgb": 3, "rgba": 4}
_FLAWS = {"duplicates": "near-duplicates", "flat": "nearly flat pictures", "borders": "bars", "text": "lettering"}


def run(argv: Sequence[str]) -> int:
    """Build the archive and print what became of the files."""
    parser = _parser()
    asked = parser.read(argv)
    sources, dest = split_paths(asked, parser.usage or "")
    if asked.size is None:
        raise UsageError(f"--size is missing: {parser.usage}")
    paths = report_paths(asked)
    size, recipe = _asked_size(asked), _asked_recipe(asked)
    with shown_progress("preparing pictures") as progress:
        report = build_dataset(
            sources,
            dest,
            size=size,
            recipe=recipe,
            labels=asked.labels,
            licence=asked.licence,
            force=asked.force,
            workers=asked.workers,
            progress=progress,
        )
    save_report(report, paths)
    tell_report(report, as_json=asked.json)
    return 0


def split_paths(asked: Namespace, usage: str) -> tuple[list[str], Path]:
    """Return sources and destination. Raises: UsageError if one is missing or a source is not there."""
    paths = [str(path) for path in asked.get("PATHS") or []]
    if len(paths) < 2:
        raise UsageError(f"{'DEST' if paths else 'SRC'} is missing: {usage}")
    for source in paths[:-1]:
        if not is_url(source):
            for path in expand_braces(source):
                existing(path, "SRC")
    return paths[:-1], Path(paths[-1])


def _asked_size(asked: Namespace) -> tuple[int, int]:
    """Return (height, width) of --size and --aspect. Raises: UsageError if they contradict each other."""
    size = parse_size(asked.size, "--size")
    if asked.aspect is None:
        return size
    wide, colon, high = asked.aspect.partition(":")
    if not (colon and wide.isdecimal() and high.isdecimal() and int(wide) and int(high)):
        raise UsageError(f"--aspect: an aspect is width:height, such as 3:2, got '{asked.aspect}'.")
    aspect = Fraction(int(wide), int(high))
    if asked.size.strip().isdecimal():
        short = size[0]
        return (short, round(short * aspect)) if aspect >= 1 else (round(short / aspect), short)
    if Fraction(size[1], size[0]) != aspect:
        raise UsageError(
            f"--aspect {asked.aspect} contradicts --size {asked.size} (height × width); leave one of them out, or give "
            "--size the shorter side alone."
        )
    return size


def _asked_recipe(asked: Namespace) -> Recipe:
    try:
        background = ImageColor.getrgb(asked.background)[:3]
    except ValueError as error:
        raise UsageError(f"--background: a colour is a name or #rrggbb, got '{asked.background}'.") from error
    policy: FlawPolicy = "drop" if asked.clean else "report"
    return Recipe(
        channels=_CHANNELS[asked.channels],
        image_format=asked.format,
        crop=asked.crop or (SUBJECTS[asked.subject].crop if asked.subject else "centre"),
        crops=asked.crops,
        seed=asked.seed,
        filter=asked.filter,
        linear=asked.linear,
        background=(background[0], background[1], background[2]),
        max_enlarge=asked.max_enlarge,
        max_aspect=asked.max_aspect,
        duplicate_distance=asked.duplicate_distance,
        duplicates=asked.duplicates or policy,
        flat=asked.flat or policy,
        borders=asked.borders or policy,
        text=asked.text or policy,
    )


def _parser() -> CommandParser:
    parser = CommandParser(
        "dataset build",
        "Cut and reduce pictures of any kind to one size, into a training archive. What cannot be used is listed.",
        "SRC... DEST --size S [flags]",
    )
    parser.add_argument(
        "PATHS", nargs="*", type=str, default=SUPPRESS, metavar="SRC... DEST",
        help="Folders, zips, tar shards (also addresses), lists of addresses, CIFAR-10 or MNIST; then the archive.",
    )  # fmt: skip
    add = parser.add_argument
    add("--size", type=str, help="Size in pixels: S, or HxW as in 256x384.")
    add("--aspect", type=str, help="Width:height, as in 3:2; then --size is the shorter side.", metavar="W:H")
    add("--channels", type=Literal["grey", "rgb", "rgba"], default="rgb", help="Channels of the pictures.")
    add("--format", type=ImageFormat | None, help="How pictures are stored; default webp, or png for grey and rgba.")
    add("--subject", type=SubjectName | None, help="What the pictures show; chooses --crop as docs/presets.md says.")
    add("--crop", type=CropPolicy | None, help="Which part: pad takes all, smart the most detailed; default centre.")
    add("--crops", type=int, default=1, help="Windows per photograph, with --crop random.")
    add("--seed", type=int, default=0, help="Of random windows.")
    add("--filter", type=ResampleFilter, default="lanczos", help="Antialiasing filter.")
    add("--linear", action="store_true", help="Reduce in linear light; slower.")
    add("--background", type=str, default="white", help="Colour under transparency and of the bars of --crop pad.")
    add("--max-enlarge", type=float, default=1.0, help="How far a picture may be enlarged; 1 = never.")
    add("--max-aspect", type=float | None, help="Drop photographs longer than this many times their shorter side.")
    add("--labels", type=str, default="auto", help="auto: those of the sources; folders; none; or a CSV or JSON file.")
    for name, about in _FLAWS.items():
        add(f"--{name}", type=FlawPolicy | None, help=f"What becomes of {about}; default report.")
    add("--duplicate-distance", type=int, default=3, help="Bits of 64 in which near-duplicates may differ.")
    add("--clean", action="store_true", help="Drop near-duplicates, flat pictures, bars and lettering.")
    add("--licence", type=str, default=LICENCE_NOT_STATED, help="Licence of the pictures, for the cards of networks.")
    add_force(parser, "DEST")
    add("--workers", type=int | None, help="Processes; default one per processor.")
    add_report_flags(parser)
    return parser
