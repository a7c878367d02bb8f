"""``capriccio generate --seeds 0-15 --out DIR``: pictures, one file each and all on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from capriccio.cli.parser import YES_NO, CommandParser, folder_to_write
from capriccio.cli.picture_flags import add_picture_flags, load_model, look_of, source_of, tell_written
from capriccio.cli.progress import shown_progress
from capriccio.errors import UsageError
from capriccio.wording import counted


def run(argv: Sequence[str]) -> int:
    """Paint the pictures and say which files were written."""
    asked = _parser().read(argv)
    if not (asked.singles or asked.grid):
        raise UsageError("--no-singles and --no-grid together leave nothing to write; leave one of them out.")
    from capriccio.processes import launched_processes
    from capriccio.rendering.generate import GenerateRequest, PictureFiles, save_generated

    request = GenerateRequest(source=source_of(asked.seeds, "--seeds"), look=look_of(asked), batch=asked.batch)
    files = PictureFiles(
        folder=folder_to_write(asked.out, "--out"),
        file_format=asked.format,
        quality=asked.quality,
        singles=asked.singles,
        grid=asked.grid,
    )
    model, processes = load_model(asked, request.look, request.source), launched_processes()
    with shown_progress("painting") as progress:
        written = save_generated(model, request, files, progress if processes.is_main else None, processes)
    if not processes.is_main:
        return 0
    told = f"{counted(len(written), 'file')} in '{files.folder}', the last is '{written[-1].name}'."
    tell_written(written, told, as_json=asked.json)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "generate",
        "Paint pictures from seeds or stored latents. Each file carries what made it.",
        "[--model M] [--seeds 0-15,42] [--out DIR] [flags]",
    )
    parser.add_argument("--seeds", type=str, default="0-15", help="Seeds such as 0-15,42, or a file of latents.")
    parser.add_argument("--out", type=str, default="generated", help="Folder for the pictures.")
    parser.add_argument("--format", type=Literal["png", "webp", "jpeg", "avif"], default="png", help="Format of files.")
    parser.add_argument("--quality", type=int, default=90, help="Quality of webp, jpeg and avif, 1..100.")
    parser.add_argument("--singles", action=YES_NO, default=True, help="Write one file for each picture.")
    parser.add_argument("--grid", action=YES_NO, default=True, help="Write all pictures on one sheet.")
    add_picture_flags(parser)
    return parser
