"""``capriccio blend A B --from 16 --out FILE``: levels of one network into a relative of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capriccio.cli.parser import DEVICE_HELP, CommandParser, add_force, file_to_write, new_file
from capriccio.cli.picture_flags import look_as_flags, source_of, tell_written
from capriccio.errors import SnapshotError, UsageError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from capriccio.snapshots.blending import Shares
    from capriccio.snapshots.snapshot import Snapshot


def run(argv: Sequence[str]) -> int:
    """Write the blended snapshot, and a sheet when asked for, and say where."""
    asked = _parser().read(argv)
    if asked.A is None or asked.B is None:
        raise UsageError(f"two networks are needed: {_USAGE}")
    out = Path(asked.out)
    if out.suffix.lower() != ".safetensors":
        raise UsageError(f"--out: a snapshot ends in .safetensors, got '{out}'.")
    from capriccio.devices import choose_device
    from capriccio.interop.foreign import read_network
    from capriccio.loading.model import Model, find_snapshot
    from capriccio.rendering.look import Look
    from capriccio.rendering.pictures import format_of
    from capriccio.snapshots.blending import blend, kinship
    from capriccio.snapshots.snapshot import save_snapshot

    if asked.sheet:
        # What is wrong with the sheet is said before the work, not after it.
        format_of(file_to_write(asked.sheet, "--sheet"))
    with look_as_flags():
        look = Look(truncation_psi=asked.psi)
    device = choose_device(asked.device)
    source = source_of(asked.seeds, "--seeds")
    paths = find_snapshot(asked.A), find_snapshot(asked.B)
    if any(out.resolve() == path.resolve() for path in paths):
        raise UsageError(f"--out: '{out}' is one of the two networks; choose another file.")
    new_file(out, "--out", force=asked.force)
    a, b = (read_network(path, device) for path in paths)
    shares = _shares(asked, a)
    try:
        mixed = blend(a, b, shares)
    except SnapshotError as error:
        raise SnapshotError(f"'{asked.A}' and '{asked.B}' cannot be blended: {error}") from error
    save_snapshot(out, mixed)
    written = [out]
    if asked.sheet:
        from capriccio.rendering.blend_sheet import save_blend_sheet

        models = {"A": Model(a, device=device), "blend": Model(mixed, device=device), "B": Model(b, device=device)}
        written.append(save_blend_sheet(models, source, look, Path(asked.sheet), title=_told(shares)))
    close = min(kinship(a.generator, b.generator).values())
    told = f"The blend is '{out}': {_told(shares)}. Kinship {close:.3f} at least."
    tell_written(written, told, as_json=asked.json)
    return 0


def _shares(asked: Namespace, a: Snapshot) -> Shares:
    """Return what ``--from``, ``--share`` or ``--shares`` says; exactly one of them is given."""
    from capriccio.snapshots.blending import Shares, swapped_from

    levels = a.generator.config.shape.levels
    given = [flag for flag in ("from", "share", "shares") if asked[flag] is not None]
    if len(given) != 1:
        raise UsageError("say how to blend with one of --from LEVEL, --share NUMBER or --shares 4=0,8=0.5,...; "
                         f"got {' and '.join('--' + flag for flag in given) or 'none'}.")  # fmt: skip
    if asked["from"] is not None:
        return swapped_from(asked["from"], levels, asked.mapping)
    if asked.share is not None:
        return Shares(levels=dict.fromkeys(levels, asked.share), mapping=asked.mapping)
    return Shares(levels=_by_level(asked.shares), mapping=asked.mapping)


def _by_level(text: str) -> dict[int, float]:
    shares: dict[int, float] = {}
    for part in text.split(","):
        level, _, share = part.partition("=")
        try:
            found = int(level), float(share)
        except ValueError:
            raise UsageError(f"--shares: write LEVEL=SHARE like 4=0,8=0.5,16=1, got '{part}'.") from None
        if found[0] in shares:
            raise UsageError(f"--shares: level {found[0]} is named twice.")
        shares[found[0]] = found[1]
    return shares


def _told(shares: Shares) -> str:
    parts = [f"{level} px {share:g}" for level, share in sorted(shares.levels.items())]
    return f"share of B: {', '.join(parts)}, mapping {shares.mapping:g}"


_USAGE = "capriccio blend A B --from LEVEL [--out FILE] [--sheet FILE] [flags]"


def _parser() -> CommandParser:
    parser = CommandParser(
        "blend",
        "Take levels of a network from a relative of it, or move them towards it, and write the result as a snapshot.",
        "A B --from LEVEL [--out FILE] [--sheet FILE] [flags]",
    )
    parser.add_argument("A", nargs="?", type=str | None, default=None, help="Network that keeps the other levels.")
    parser.add_argument("B", nargs="?", type=str | None, default=None, help="Its relative, whose levels are taken.")
    parser.add_argument("--out", type=str, default="blend.safetensors", help="File of the blended network.")
    add_force(parser, "the file of --out")
    how = parser.add_argument_group("how much of B (one of these)")
    how.add_argument("--from", type=int | None, default=None, help="This level (4, 8, 16, ...) and finer ones.")
    how.add_argument("--share", type=float | None, default=None, help="The same share of every level, 0..1.")
    how.add_argument("--shares", type=str | None, default=None, help="Share by level: 4=0,8=0.25,16=0.75,32=1,64=1.")
    parser.add_argument("--mapping", type=float, default=0.0, help="Share of B's mapping network, 0..1.")
    sheet = parser.add_argument_group("sheet")
    sheet.add_argument("--sheet", type=str | None, default=None, help="Picture of A, blend and B side by side.")
    sheet.add_argument("--seeds", type=str, default="0-5", help="On the sheet: seeds, or a file of latents.")
    sheet.add_argument("--psi", type=float, default=0.7, help="On the sheet: truncation.")
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    parser.add_argument("--json", action="store_true", help="Print what was written as one JSON document.")
    return parser
