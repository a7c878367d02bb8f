"""The sheet of docs/augmentation.md: what every transformation and every pipe does to painted landscapes.

    python scripts/augmentation_sheet.py docs/images/augmentations.webp

The upper rows show one transformation each, at seven quantiles of its distribution; noise and cutout, too. The lower
rows show pipes at their p, as the discriminator sees them: pictures drawn at random, the same for every pipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from capriccio.augmentation.parameters import draw, quantiles
from capriccio.augmentation.pipeline import augment, plan
from capriccio.augmentation.pipes import PIPES
from capriccio.config import Transformations
from capriccio.data.landscapes import paint
from capriccio.rendering.grids import to_picture, to_uint8

HEIGHT, WIDTH = 64, 96
QUANTILES = (0.02, 0.15, 0.3, 0.5, 0.7, 0.85, 0.98)
NUM_COLUMNS = 8
SCENE = 7
GAP, LABEL_WIDTH = 3, 132

ROWS_OF_PIPES = [("bgc", 0.2), ("bgc", 0.5), ("bgc", 0.8), ("bgcfnc", 0.5), ("light", 1.0)] + [
    (name, 0.8) for name in ("landscapes", "faces", "cats", "cars", "art", "textures")
]

EXTRA = {"imgfilter": ("imgfilter, fine band", Transformations(imgfilter=1.0, imgfilter_bands=(0.0, 0.0, 0.0, 1.0)))}


def scenes(numbers: list[int]) -> Tensor:
    """Return painted landscapes [N, 3, H, W] in −1…1."""
    return torch.from_numpy(paint(numbers, (HEIGHT, WIDTH), seed=4)).float() / 127.5 - 1


def transformation_row(name: str) -> tuple[str, Tensor]:
    """Return a label and one scene under one transformation at several quantiles."""
    label, chosen = EXTRA.get(name, (name, Transformations(**{name: 1.0})))
    size = (3, HEIGHT, WIDTH)
    images = []
    for q in QUANTILES:
        noise = torch.randn(1, *size, generator=torch.Generator().manual_seed(0))
        images.append(augment(scenes([SCENE]), plan(quantiles(chosen, q, 1, size, noise), size)))
    return label, torch.cat([scenes([SCENE]), *images])


def pipe_row(name: str, p: float) -> tuple[str, Tensor]:
    """Return a label and several scenes under a pipe."""
    size = (3, HEIGHT, WIDTH)
    parameters = draw(PIPES[name], p, NUM_COLUMNS, size, torch.Generator().manual_seed(2))
    return f"{name}, p = {p:g}", augment(scenes(list(range(NUM_COLUMNS))), plan(parameters, size))


def sheet(rows: list[tuple[str, Tensor]]) -> Image.Image:
    """Return labelled rows as one picture."""
    width = LABEL_WIDTH + NUM_COLUMNS * (WIDTH + GAP)
    page = Image.new("RGB", (width, len(rows) * (HEIGHT + GAP) + GAP), (255, 255, 255))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=14)
    for index, (label, images) in enumerate(rows):
        top = GAP + index * (HEIGHT + GAP)
        pen.text((6, top + HEIGHT / 2), label, fill=(34, 34, 34), font=font, anchor="lm")
        for column, pixels in enumerate(np.asarray(to_uint8(images))):
            page.paste(to_picture(pixels), (LABEL_WIDTH + column * (WIDTH + GAP), top))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    rows = [transformation_row(name) for name in PIPES["bgcfnc"].enabled]
    rows += [pipe_row(name, p) for name, p in ROWS_OF_PIPES]
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows).save(out, quality=85, method=6)


if __name__ == "__main__":
    main()
