"""Draw what the default model does with photographs, for docs/projection.md and docs/detection.md.

    python scripts/document_pictures.py PHOTOGRAPHS

``PHOTOGRAPHS`` is a folder with ``beach``, ``haze``, ``island``, ``sea``, ``cliff`` and ``rock`` (``.jpg``), which the
model never saw; docs/projection.md says which they are. Writes ``docs/images/projected-*.webp`` and
``docs/images/demo-verdicts.webp``, with the commands that stand in the documents. Run it when the model is replaced.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

import capriccio
from capriccio.cli.tour.finding import judged_pictures
from capriccio.detection.calibrate import stored_calibration
from capriccio.rendering.grids import image_grid
from capriccio.rendering.verdicts import verdict_sheet
from release_model import IMAGES, call

MIXED = ("beach", "haze", "island", "sea")
TUNED = ("cliff", "island", "rock")
PAIR_HEIGHT, TUNED_HEIGHT, VERDICT_SCALE, MARGIN = 128, 192, 2, 2


def beside(folder: Path, names: tuple[str, ...], height: int) -> list[Image.Image]:
    """Return the side-by-side pictures of projections at a height, with a margin."""
    pictures = [Image.open(folder / name / "side-by-side.png").convert("RGB") for name in names]
    return [
        ImageOps.expand(p.resize((p.width * height // p.height, height), Image.Resampling.LANCZOS), MARGIN, "white")
        for p in pictures
    ]


def projected(photographs: Path, work: Path) -> None:
    """Draw four photographs projected, the same four mixed with each other, and three after tuning."""
    four = [photographs / f"{name}.jpg" for name in MIXED]
    call("project", *four, "--space", "w+", "--steps", 80, "--out", work / "four")
    image_grid(beside(work / "four", MIXED, PAIR_HEIGHT), 2).save(IMAGES / "projected-pairs.webp", quality=88)
    latents = work / "four/latents.safetensors"
    call("mix", "--rows", latents, "--cols", latents, "--layers", "fine", "--out", work / "mix.png")
    Image.open(work / "mix.png").convert("RGB").save(IMAGES / "projected-mix.webp", quality=88)
    call("project", *(photographs / f"{name}.jpg" for name in TUNED), "--tune", "each", "--out", work / "tuned")
    image_grid(beside(work / "tuned", TUNED, TUNED_HEIGHT), 1).save(IMAGES / "projected-tuned.webp", quality=88)


def judged() -> None:
    """Draw the verdicts of the demo: four pictures of the network and four paintings, with their reconstructions."""
    model = capriccio.load(device="cpu")
    sheet = verdict_sheet(judged_pictures(model, stored_calibration(model, Path())), scale=VERDICT_SCALE)
    sheet.save(IMAGES / "demo-verdicts.webp", quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of the six photographs")
    photographs = parser.parse_args().photographs
    judged()
    with tempfile.TemporaryDirectory() as work:
        projected(photographs, Path(work))


if __name__ == "__main__":
    main()
