"""``capriccio demo``: the whole tour on embedded data, in minutes, ending in one HTML report.

Paints landscapes, trains a small network on them from scratch, fine-tunes the bundled model for a moment, generates,
mixes, films, projects and detects. Everything is made by the same functions as the commands it names.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capriccio.cli.parser import DEVICE_HELP, CommandParser

if TYPE_CHECKING:
    from capriccio.loading.model import Model
    from capriccio.rendering.report import Section


def run(argv: Sequence[str]) -> int:
    """Do the tour and say where the report lies."""
    asked = _parser().read(argv)
    report = _take(Path(asked.out), minutes=asked.minutes, device=asked.device)
    print(f"The report lies in {report}")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "demo",
        "A tour of everything on embedded data: train a little, generate, mix, film, project, detect; leaves one HTML "
        "report.",
        "[--out DIR] [--minutes M]",
    )
    parser.add_argument("--out", type=str, default="capriccio-demo", help="Folder of the tour; may exist.")
    parser.add_argument("--minutes", type=float, default=2.5, help="How long to train.")
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    return parser


def _take(folder: Path, *, minutes: float, device: str) -> Path:
    """Go from stop to stop; return the path of the report."""
    from capriccio.cli.tour import finding, playing
    from capriccio.cli.tour.figures import minutes as in_minutes
    from capriccio.cli.tour.figures import sheet
    from capriccio.cli.tour.learning import FINE_TUNE_SHARE, Learning
    from capriccio.data.cache import cache_folder
    from capriccio.loading.bundled import bundled_names
    from capriccio.loading.model import load
    from capriccio.rendering.report import Figure, Report, save_report

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    has_bundled, cache = bool(bundled_names()), cache_folder(None)
    learning = Learning(folder, minutes, device)
    sections = [learning.paint(), learning.train(1 - FINE_TUNE_SHARE if has_bundled else 1)]
    model = load(None if has_bundled else learning.scratch, device=device)
    painter, flag = _painter(model)
    if has_bundled:
        sections.append(learning.fine_tune(model))
    sections += [playing.generate(painter, flag), playing.mix(painter, folder, flag)]
    sections.append(playing.film(painter, folder, flag))
    sections.append(finding.project(model, folder, cache))
    # A toy of a few minutes cannot be told from its data, and calibrating it would take longer than the tour.
    if model.facts.calibration:
        sections.append(finding.detect(model, cache))
    sections.append(_next_steps())
    models = {"model": model} if painter is model else {"paints": painter, "projects and detects": model}
    report = Report(
        title="A capriccio",
        subtitle="Imaginary landscapes, composed from what a network learnt. Everything on this page was painted, "
        "trained and generated on this machine just now"
        + (", with what comes with the package where it says so." if has_bundled else "."),
        cover=Figure(
            image=sheet(painter, range(100, 124)), caption="Twenty-four landscapes that never existed.", scale=1
        ),
        facts=[
            *((what, f"{m.shape}, {m.facts.nimg / 1000:,.0f} kimg") for what, m in models.items()),
            ("device", str(model.device)),
            ("whole tour", in_minutes(time.monotonic() - started)),
            ("weights", "; ".join(dict.fromkeys(m.licence for m in models.values()))),
        ],
        sections=sections,
    )
    return save_report(folder / "report.html", report).resolve()


def _painter(model: Model) -> tuple[Model, str]:
    """Return the bundled model with the best pictures and the flag that names it; ``model`` if it is that one."""
    from capriccio.loading.bundled import best_painter, bundled_names
    from capriccio.loading.model import load

    name = best_painter()
    if name is None or name == bundled_names()[0]:
        return model, ""
    return load(name, device=model.device), f" --model {name}"


def _next_steps() -> Section:
    from capriccio.rendering.report import Command, Section

    return Section(
        heading="Your own photographs",
        blocks=[
            "A folder of a few thousand photographs is enough to begin. Start small, look at the samples, let it run.",
            Command(
                lines=[
                    "capriccio train photos/ --resolution 64 --preset laptop --mirror --out runs/mine",
                    "capriccio generate --model runs/mine --seeds 0-63 --out pictures",
                    "capriccio mix --model runs/mine --rows 1,2,3 --cols 4,5,6 --layers coarse --out mix.png",
                    "capriccio calibrate --model runs/mine --data photos/ --out calibrated.safetensors",
                    "capriccio detect inbox/ --model calibrated.safetensors --report verdicts.html",
                ]
            ),
        ],
    )
