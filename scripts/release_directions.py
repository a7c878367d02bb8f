"""Find the named directions of a bundled model again, and write their file, sheets and page.

    python scripts/release_directions.py landscapes-64

Writes ``src/capriccio/models/NAME.directions.json``, ``docs/directions-NAME.md`` and, in ``docs/images``,
``NAME-direction-*``, ``NAME-discovered`` and ``NAME-edit``.
Run it whenever the model is replaced; nothing in those files is written by hand.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

import capriccio
from capriccio.latent.directions import FOLDER, SUFFIX, Directions, rows_named, save_directions
from capriccio.latent.discovery import components, factors, sample_w
from capriccio.latent.fitting import HELD_OUT, fit_directions
from capriccio.latent.statistics import LANDSCAPES, STATISTICS
from capriccio.loading.model import Model
from capriccio.rendering.direction_sheet import SheetRequest, save_direction_sheet
from capriccio.rendering.edit import EditRequest, Move, save_edited
from capriccio.rendering.grids import image_grid
from capriccio.rendering.look import Look

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
SAMPLES, PSI, QUALITY = 3000, 0.7, 70
SHOWN_EDIT, SHOWN_SEEDS = {"snow": 2.0, "daylight": -1.0}, (1, 2, 9, 11)
SHOWN_FACTORS, SHOWN_COMPONENTS, REACH = (1, 2), (1, 2), 6.0


def page(name: str, directions: Directions) -> str:
    """Return the Markdown page about the directions of a model."""
    explained, response = directions.facts["explained"], directions.facts["response"]
    about = "\n".join(
        f"| `{d.name}` | {d.about} | {STATISTICS[LANDSCAPES[d.name].statistic].about} | {r2:.2f} | {line[i]:.2f} |"
        for i, (d, r2, line) in enumerate(zip(directions.listed, explained, response, strict=True))
    )
    head = "| a step of | " + " | ".join(directions.names) + " |\n|---|" + "---:|" * len(directions)
    table = "\n".join(
        f"| `{d.name}` | " + " | ".join(f"{value:+.2f}" for value in line) + " |"
        for d, line in zip(directions.listed, response, strict=True)
    )
    sheets = "\n".join(f"![{d.name}](images/{name}-direction-{d.name}.webp)" for d in directions.listed)
    return f"""# The directions of `{name}`

*This page is written by `scripts/release_directions.py`; how they are found is told in [editing](editing.md).*

| direction | what one sees | the statistic it raises | R² | obeyed |
|---|---|---|---:|---:|
{about}

*R²*: the share of the statistic's variance that is linear in w, on {int(SAMPLES * HELD_OUT)} samples the fit has not
seen. *Obeyed*: by how many standard deviations a step raises the statistic in pictures, asked was 1.

What a step changes in *every* statistic, in standard deviations, measured on 64 other pictures (ψ = {PSI}) moved 1.5
steps to either side. One slider would change one thing if this were the unit matrix:

{head}
{table}

Model hash: `{directions.model_hash}`. Licence of the file: {directions.licence or "that of the weights"}.

## What each does

Strengths -3 to 3; on the left the picture as it was. Seeds 0 to 5, ψ = {PSI}, none chosen. Beyond two steps pictures
leave what the network has learnt.

{sheets}

## The command

```bash
capriccio directions --model {name} --samples {SAMPLES} --psi {PSI} --out directions.json --sheets sheets
```
"""


def draw_sheets(model: Model, directions: Directions, name: str) -> None:
    """Write the sheet of each named direction."""
    request = SheetRequest(look=Look(truncation_psi=PSI))
    for direction in directions.listed:
        path = IMAGES / f"{name}-direction-{direction.name}.webp"
        save_direction_sheet(model, direction, request, path, quality=QUALITY)


def draw_discovered(model: Model, name: str) -> None:
    """Write the sheets of some factors and components on one picture."""
    w = sample_w(model, SAMPLES)
    coarse, every = rows_named("coarse", model.num_ws), rows_named("all", model.num_ws)
    found = [factors(model, coarse, max(SHOWN_FACTORS), w)[i - 1] for i in SHOWN_FACTORS]
    found += [components(model, every, max(SHOWN_COMPONENTS), w)[i - 1] for i in SHOWN_COMPONENTS]
    request = SheetRequest(source=(0, 1, 2, 3), look=Look(truncation_psi=PSI), reach=REACH)
    with tempfile.TemporaryDirectory() as folder:
        files = [save_direction_sheet(model, d, request, Path(folder) / f"{d.name}.png") for d in found]
        sheets = [Image.open(file).convert("RGB") for file in files]
    size = max(sheet.width for sheet in sheets), max(sheet.height for sheet in sheets)
    image_grid([ImageOps.pad(sheet, size, color="white", centering=(0, 0)) for sheet in sheets], 2).save(
        IMAGES / f"{name}-discovered.webp", quality=QUALITY
    )


def draw_edit(model: Model, directions: Directions, name: str) -> None:
    """Write the sheet of one edit, before and after."""
    moves = tuple(Move(direction=directions[key], strength=strength) for key, strength in SHOWN_EDIT.items())
    request = EditRequest(source=SHOWN_SEEDS, moves=moves, look=Look(truncation_psi=PSI))
    with tempfile.TemporaryDirectory() as folder:
        sheet = save_edited(model, request, Path(folder))[-1]
        Image.open(sheet).save(IMAGES / f"{name}-edit.webp", quality=QUALITY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="name of the bundled model")
    name = parser.parse_args().name
    model = capriccio.load(name, device="cpu")
    fitted = fit_directions(model, LANDSCAPES, count=SAMPLES, psi=PSI)
    directions = Directions(
        model_hash=model.model_hash,
        num_ws=model.num_ws,
        listed=fitted.listed,
        licence=model.licence,
        facts=fitted.facts(),
    )
    path = save_directions(FOLDER / f"{name}{SUFFIX}", directions)
    draw_sheets(model, directions, name)
    draw_discovered(model, name)
    draw_edit(model, directions, name)
    (ROOT / "docs" / f"directions-{name}.md").write_text(page(name, directions))
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB; docs/directions-{name}.md")


if __name__ == "__main__":
    main()
