"""``capriccio edit --seeds 0-7 --set snow=2 --set daylight=-1@fine --out DIR``: move pictures along directions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from capriccio.cli.parser import CommandParser, folder_to_write
from capriccio.cli.picture_flags import add_picture_flags, load_model, look_of, source_of, tell_written
from capriccio.cli.progress import shown_progress
from capriccio.errors import UsageError
from capriccio.wording import counted

if TYPE_CHECKING:
    from capriccio.latent.directions import Directions


def run(argv: Sequence[str]) -> int:
    """Paint the edited pictures and say which files were written."""
    asked = _parser().read(argv)
    from capriccio.latent.directions import load_directions, parse_change
    from capriccio.rendering.edit import EditRequest, moves_of, save_edited

    source = source_of(asked.seeds, "--seeds")
    look = look_of(asked)
    folder = folder_to_write(asked.out, "--out")
    model = load_model(asked, look, source)
    directions = load_directions(model, asked.directions)
    if asked.list:
        _show(directions, as_json=asked.json)
        return 0
    if not asked.set:
        raise UsageError(f"--set is missing: NAME=STRENGTH, such as --set {directions.names[0]}=2. "
                         f"There are: {', '.join(directions.names)}.")  # fmt: skip
    moves = moves_of([parse_change(text, what="--set") for text in asked.set], directions)
    request = EditRequest(source=source, moves=moves, look=look, batch=asked.batch)
    with shown_progress("editing") as progress:
        written = save_edited(
            model, request, folder, file_format=asked.format, quality=asked.quality, progress=progress
        )
    told = (f"{counted(len(written), 'file')} in '{asked.out}': pictures, their latents '{written[-2].name}', "
            f"'{written[-1].name}'.")  # fmt: skip
    tell_written(written, told, as_json=asked.json)
    return 0


def _show(directions: Directions, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({d.name: {"about": d.about, "unit": d.unit, "rows": d.rows} for d in directions.listed}))
        return
    width = max(map(len, directions.names)) + 2
    for direction in directions.listed:
        print(f"{direction.name:<{width}}{direction.about or direction.source} (1 = {direction.unit})")


def _parser() -> CommandParser:
    parser = CommandParser(
        "edit",
        "Change pictures along named directions, several at once. Writes pictures, latents, and before beside after.",
        "--set NAME=STRENGTH[@LAYERS]... [--seeds 0-7] [--model M] [--out DIR] [flags]",
    )
    parser.add_argument("--seeds", type=str, default="0-7", help="Seeds such as 0-15,42, or a file of latents.")
    parser.add_argument(
        "--set", type=str, action="append", default=[], metavar="NAME=STRENGTH[@LAYERS]",
        help="A direction and how many steps along it, back with a minus; with @ in these layers only: coarse, middle, "
        "fine, all, or rows like 0-3,7. May be given again.",
    )  # fmt: skip
    parser.add_argument(
        "--directions", type=str | None, default=None, help="File of directions; null = those that come with the model."
    )
    parser.add_argument("--list", action="store_true", help="List the directions and stop.")
    parser.add_argument("--out", type=str, default="edited", help="Folder for the pictures.")
    parser.add_argument("--format", type=Literal["png", "webp", "jpeg", "avif"], default="png", help="Format of files.")
    parser.add_argument("--quality", type=int, default=90, help="Quality of webp, jpeg and avif, 1..100.")
    add_picture_flags(parser)
    return parser
