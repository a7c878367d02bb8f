"""``capriccio mix --rows 1,2 --cols 3,4 --layers coarse --out FILE``: the style-mixing table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from capriccio.cli.parser import CommandParser, file_to_write, folder_to_write
from capriccio.cli.picture_flags import add_picture_flags, load_model, look_of, source_of, tell_written
from capriccio.cli.progress import shown_progress


def run(argv: Sequence[str]) -> int:
    """Paint the table and say which files were written."""
    asked = _parser().read(argv)
    from capriccio.rendering.mix import MixRequest, save_mix

    request = MixRequest(
        rows=source_of(asked.rows, "--rows"),
        columns=source_of(asked.cols, "--cols"),
        layers=asked.layers,
        look=look_of(asked),
        scale=asked.scale,
        batch=asked.batch,
    )
    out = file_to_write(asked.out, "--out")
    cells = folder_to_write(asked.cells, "--cells") if asked.cells else None
    model = load_model(asked, request.look, request.rows, request.columns)
    with shown_progress("mixing") as progress:
        written = save_mix(
            model,
            request,
            out,
            cells=cells,
            cell_format=asked.cell_format,
            quality=asked.quality,
            progress=progress,
        )
    tell_written(written, f"The table is '{written[0]}'.", as_json=asked.json)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "mix",
        "Paint the style-mixing table: every row's picture with some layers of every column's.",
        "--rows 1,2 --cols 3,4 [--layers coarse] [--out FILE] [flags]",
    )
    latents = "seeds such as 0-3,7, or a file of latents"
    parser.add_argument("--rows", type=str, default="0-3", help=f"Down the left: {latents}.")
    parser.add_argument("--cols", type=str, default="4-9", help=f"Along the top: {latents}. Lend the mixed layers.")
    parser.add_argument(
        "--layers", type=str, default="coarse",
        help="coarse (4-8 px), middle (16-32 px), fine (64 px and up), or latent rows such as 0-3,7.",
    )  # fmt: skip
    parser.add_argument("--out", type=str, default="mix.png", help="File of the table.")
    parser.add_argument("--scale", type=int | None, default=None, help="Enlarge cells so much; null = to be readable.")
    parser.add_argument("--cells", type=str | None, default=None, help="Folder for one file for each mixed picture.")
    parser.add_argument("--cell-format", type=Literal["png", "webp", "jpeg", "avif"], default="png", help="Of those.")
    parser.add_argument("--quality", type=int, default=90, help="Quality of webp, jpeg and avif, 1..100.")
    add_picture_flags(parser)
    return parser
