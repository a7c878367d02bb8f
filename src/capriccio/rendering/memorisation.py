"""The memorisation check as pictures: samples beside their nearest training pictures, and a histogram."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from capriccio.durable import replacing
from capriccio.metrics.memorisation import Memorisation
from capriccio.rendering.curves import Curve, Plot
from capriccio.rendering.grids import Table, enlarge, scale_to_reach, to_picture
from capriccio.rendering.report import plot_file

SHOWN = 12
"""Samples on the sheet: those most like copies."""

SHOWN_SIDE = 96
"""Smaller pictures are shown enlarged by a whole factor until their shorter side reaches it."""

NUM_BINS = 24


def save_memorisation(found: Memorisation, folder: Path) -> list[Path]:
    """Write ``memorisation.json``, the sheet and the histogram, and return their paths.

    The sheet shows training pictures: it belongs into the folder of the run and nowhere else.
    """
    paths = [folder / f"memorisation.{suffix}" for suffix in ("json", "png", "svg")]
    with replacing(paths[0]) as file:
        file.write(json.dumps(found.to_dict(), indent=1, ensure_ascii=False).encode())
    with replacing(paths[1]) as file:
        memorisation_sheet(found).save(file, format="PNG")
    with replacing(paths[2]) as file:
        file.write(plot_file(ratio_histogram(found)).encode())
    return paths


def memorisation_sheet(found: Memorisation) -> Image.Image:
    """Return the samples with the lowest ratios, each with its nearest training pictures."""
    closest = found.sample_ratios.argsort()[:SHOWN].tolist()
    height, width = found.samples.shape[2:]
    scale = scale_to_reach(SHOWN_SIDE, (height, width))
    columns = [f"neighbour {i + 1}" for i in range(found.neighbours.shape[1])]
    labels = [f"sample {i}, {float(found.sample_ratios[i]):.2f}" for i in closest]
    title = f"{found.judgement.verdict} (a copy has a ratio near 0)"
    table = Table(labels, columns, (height * scale, width * scale), title, column_sources=False)
    for row, sample in enumerate(closest):
        table.put(row, -1, _shown(found.samples[sample], scale))
        pictures = torch.from_numpy(found.train.images(found.neighbours[sample].tolist()))
        for column, picture in enumerate(pictures):
            table.put(row, column, _shown(picture, scale))
    return table.image


def ratio_histogram(found: Memorisation) -> Plot:
    """Return the distributions of the ratios, of samples and of held-out pictures."""
    sets = {"held out": found.heldout_ratios, "samples": found.sample_ratios}
    edges = torch.linspace(0, float(torch.cat(list(sets.values())).max()) * 1.001, NUM_BINS + 1)
    return Plot(
        curves=[Curve(name=name, points=_shares(values, edges)) for name, values in sets.items()],
        x_label="distance to the nearest training picture, by that picture's distance to its own nearest",
        y_label="share of pictures",
        caption=found.judgement.sentence,
    )


def _shares(values: Tensor, edges: Tensor) -> list[tuple[float, float]]:
    counts = torch.histogram(values.float(), edges.float()).hist / len(values)
    centres = (edges[1:] + edges[:-1]) / 2
    return list(zip(centres.tolist(), counts.tolist(), strict=True))


def _shown(pixels: Tensor, scale: int) -> Image.Image:
    return enlarge(to_picture(pixels.permute(1, 2, 0).numpy()), scale)
