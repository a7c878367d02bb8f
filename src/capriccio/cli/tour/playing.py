"""The stops in the middle: pictures by seed, two pictures mixed, a walk."""

from __future__ import annotations

from pathlib import Path

from capriccio.cli.tour.figures import say, sheet, shown
from capriccio.loading.model import Model
from capriccio.rendering.look import Look
from capriccio.rendering.mix import MixRequest, save_mix
from capriccio.rendering.report import Block, Command, Section
from capriccio.rendering.video import VideoRequest, save_video

WALK_SEEDS, WALK_SIDE = (11, 23, 35, 47), 256
MIX_ROWS, MIX_COLUMNS = (2, 5, 8), (21, 33, 40, 57, 64)


def generate(model: Model, flag: str) -> Section:
    """Show seeds at several truncations; ``flag``: what the command needs to take this model, with a space before."""
    say("Generating …")
    return Section(
        heading="Pictures that never existed",
        blocks=[
            "A seed is a picture. Truncation (ψ) trades variety for typicality: at 1 everything the network can "
            "paint, towards 0 the one landscape it thinks most ordinary.",
            *(
                shown(sheet(model, range(40, 52), psi=psi), f"ψ = {psi:g}, seeds 40 to 51.")
                for psi in (1.0, 0.7, 0.4, 0.0)
            ),
            Command(lines=[f"capriccio generate{flag} --seeds 40-51 --psi 0.7 --out pictures"]),
        ],
    )


def mix(model: Model, folder: Path, flag: str) -> Section:
    """Show two mixing tables; files go to ``folder``."""
    say("Mixing styles …")
    blocks: list[Block] = [
        "Every layer of the network takes its own style. Below, the coarse layers (composition) or the fine ones "
        "(light and colour) of the pictures on top are given to the pictures on the left."
    ]
    for layers in ("coarse", fine_layers(model)):
        path = folder / f"mix-{layers}.png"
        save_mix(
            model, MixRequest(rows=MIX_ROWS, columns=MIX_COLUMNS, layers=layers, look=Look(truncation_psi=0.7)), path
        )
        blocks.append(shown(path.read_bytes(), f"The {layers} layers come from the pictures on top."))
    words = f"capriccio mix{flag} --rows 2,5,8 --cols 21,33,40,57,64 --layers fine --out mix.png"
    blocks.append(Command(lines=[words]))
    return Section(heading="Mixing two pictures", blocks=blocks)


def film(model: Model, folder: Path, flag: str) -> Section:
    """Show a closed path through W; the file goes to ``folder``."""
    say("Filming …")
    path = folder / "walk.webp"
    scale = max(WALK_SIDE // max(model.size), 1)
    look = Look(truncation_psi=0.7)
    save_video(
        model, VideoRequest(keys=WALK_SEEDS, look=look, frames_per_second=15, seconds_per_key=1.6, scale=scale), path
    )
    return Section(
        heading="A walk",
        blocks=[
            "Between any two pictures lie others. A closed path through four of them:",
            shown(path.read_bytes(), "From seed 11 over 23, 35 and 47 back to 11.", scale=1),
            Command(lines=[f"capriccio video{flag} --seeds 11,23,35,47 --out walk.webp"]),
        ],
    )


def fine_layers(model: Model) -> str:
    """Return the finest range of layers this network has."""
    return "fine" if model.num_ws > 7 else "middle"
