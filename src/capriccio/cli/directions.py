"""``capriccio directions --model M --out FILE --sheets DIR``: find editing directions, and see what they do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from capriccio.cli.parser import CommandParser, file_to_write, folder_to_write
from capriccio.cli.picture_flags import add_picture_flags, load_model, look_of, source_of, tell_written
from capriccio.cli.progress import shown_progress
from capriccio.errors import UsageError
from capriccio.progress import Progress

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from capriccio.latent.directions import Direction, Directions
    from capriccio.latent.statistics import Name
    from capriccio.loading.model import Model


def run(argv: Sequence[str]) -> int:
    """Find the directions, write their file and sheets, and say which."""
    asked = _parser().read(argv)
    from capriccio.latent.directions import save_directions
    from capriccio.rendering.direction_sheet import SheetRequest, save_direction_sheet

    out = file_to_write(asked.out, "--out")
    sheets = folder_to_write(asked.sheets, "--sheets") if asked.sheets else None
    if out.suffix.lower() != ".json":
        raise UsageError(f"--out: a directions file ends in .json, got '{out}'.")
    request = SheetRequest(
        source=source_of(asked.seeds, "--seeds"),
        look=look_of(asked),
        reach=asked.reach,
        steps=asked.steps,
        batch=asked.batch,
    )
    model = load_model(asked, request.look)
    with shown_progress("painting samples") as progress:
        found = _find(model, asked, progress)
    written = [save_directions(out, found)]
    if sheets is not None:
        with shown_progress("painting sheets") as progress:
            for done, direction in enumerate(found.listed, 1):
                path = sheets / f"{direction.name}.{asked.format}"
                written.append(save_direction_sheet(model, direction, request, path))
                progress(done, len(found))
    tell_written(written, _told(found, written), as_json=asked.json)
    return 0


def _find(model: Model, asked: Namespace, progress: Progress) -> Directions:
    from capriccio.latent.directions import Directions

    facts = {}
    if asked.method == "statistics":
        from capriccio.latent.fitting import fit_directions

        fitted = fit_directions(
            model, _names(asked.names), count=asked.samples, batch=asked.batch, psi=asked.psi, progress=progress
        )
        listed = fitted.listed
        facts = fitted.facts()
    else:
        listed = _discovered(model, asked)
    return Directions(
        model_hash=model.model_hash, num_ws=model.num_ws, listed=tuple(listed), licence=model.licence, facts=facts
    )


def _discovered(model: Model, asked: Namespace) -> tuple[Direction, ...]:
    from capriccio.latent.directions import rows_named
    from capriccio.latent.discovery import components, factors, sample_w
    from capriccio.latent.mixing import NAMED_ROWS

    find = factors if asked.method == "factors" else components
    there = [name for name, rows in NAMED_ROWS.items() if range(model.num_ws)[rows]]
    ranges = [*there, "all"] if asked.layers == "each" else [asked.layers]
    w = sample_w(model, asked.samples)
    return tuple(d for layers in ranges for d in find(model, rows_named(layers, model.num_ws), asked.count, w))


def _names(text: str | None) -> dict[str, Name]:
    from capriccio.latent.statistics import LANDSCAPES, Name

    if text is None:
        return dict(LANDSCAPES)
    names = {}
    for part in text.split(","):
        name, equals, statistic = (word.strip() for word in part.partition("="))
        if not (name and equals and statistic):
            raise UsageError(f"--names: write NAME=STATISTIC, separated by commas, got '{part}'.")
        names[name] = Name(statistic, f"+ more, - less {statistic}")
    return names


def _told(found: Directions, written: Sequence[Path]) -> str:
    lines = [f"{len(found)} directions in '{written[0]}':"]
    explained = found.facts.get("explained")
    for i, direction in enumerate(found.listed):
        fit = f"  R² {explained[i]:.2f}, obeyed {found.facts['response'][i][i]:.2f}" if explained else ""
        lines.append(f"  {direction.name:<22}{direction.about or direction.unit}{fit}")
    if len(written) > 1:
        lines.append(f"Sheets in '{written[1].parent}'.")
    return "\n".join(lines)


def _parser() -> CommandParser:
    parser = CommandParser(
        "directions",
        "Find editing directions of a network: by statistics of its pictures, which name them, or to be looked at.",
        "[--model M] [--method statistics|factors|components] [--out FILE] [--sheets DIR] [flags]",
    )
    parser.add_argument(
        "--method", type=Literal["statistics", "factors", "components"], default="statistics",
        help="statistics: named moves that raise one number of the picture and keep the others; factors: of the style "
        "weights, in closed form; components: the principal ones of W.",
    )  # fmt: skip
    parser.add_argument("--out", type=str, default="directions.json", help="File of the directions.")
    parser.add_argument("--sheets", type=str | None, default=None, help="Folder for a sheet of each; null = none.")
    parser.add_argument("--samples", type=int, default=3000, help="Samples of W; pictures too for statistics.")
    parser.add_argument(
        "--names", type=str | None, default=None,
        help="NAME=STATISTIC, separated by commas, for statistics; null = those of landscapes.",
    )  # fmt: skip
    parser.add_argument(
        "--layers", type=str, default="each",
        help="Rows for factors and components: coarse, middle, fine, all, or 0-3,7; each = all four names.",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=4, help="Factors or components for each choice of layers.")
    sheet = parser.add_argument_group("on the sheets")
    sheet.add_argument("--seeds", type=str, default="0-5", help="Seeds such as 0-5,42, or a file of latents.")
    sheet.add_argument("--reach", type=float, default=3.0, help="Strength of the outermost pictures.")
    sheet.add_argument("--steps", type=int, default=3, help="Pictures on either side.")
    sheet.add_argument("--format", type=Literal["png", "webp", "jpeg", "avif"], default="png", help="Format of sheets.")
    add_picture_flags(parser, batch=50)
    return parser
