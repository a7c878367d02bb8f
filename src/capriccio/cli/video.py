"""``capriccio video --seeds 0,5,9 --out FILE``: a walk through W."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capriccio.cli.parser import YES_NO, CommandParser, file_to_write, folder_to_write
from capriccio.cli.picture_flags import add_picture_flags, load_model, look_of, source_of, tell_written
from capriccio.cli.progress import shown_progress


def run(argv: Sequence[str]) -> int:
    """Paint the film and say where it is."""
    asked = _parser().read(argv)
    from capriccio.rendering.video import VideoRequest, save_video

    request = VideoRequest(
        keys=source_of(asked.seeds, "--seeds"),
        look=look_of(asked),
        closed=not asked.open,
        frames_per_second=asked.fps,
        seconds_per_key=asked.seconds,
        scale=asked.scale,
        quality=asked.quality,
        batch=asked.batch,
    )
    out = (file_to_write if Path(asked.out).suffix else folder_to_write)(asked.out, "--out")
    model = load_model(asked, request.look, request.keys)
    with shown_progress("filming") as progress:
        path = save_video(model, request, out, progress)
    tell_written([path], f"The film is '{path}'.", as_json=asked.json)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "video",
        "Film a smooth walk through W that passes through every key picture and returns to the first.",
        "--seeds 0,5,9 [--out FILE] [flags]",
    )
    parser.add_argument("--seeds", type=str, default="0-5", help="Key pictures: seeds like 0,5,9, or a latents file.")
    parser.add_argument("--out", type=str, default="walk.webp", help="A .webp or .avif; with PyAV also .mp4 or .webm; "
                        "a name without ending: a folder of PNG frames.")  # fmt: skip
    parser.add_argument("--open", action=YES_NO, default=False, help="End at the last key picture.")
    parser.add_argument("--fps", type=int, default=30, help="Frames a second.")
    parser.add_argument("--seconds", type=float, default=2.0, help="Time from one key picture to the next.")
    parser.add_argument("--scale", type=int, default=1, help="Enlarge frames by this whole factor.")
    parser.add_argument("--quality", type=int, default=80, help="1..100; higher is larger.")
    add_picture_flags(parser)
    return parser
