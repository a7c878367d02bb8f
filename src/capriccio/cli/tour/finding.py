"""The last stops: pictures found again in the network, and whether it made them."""

from __future__ import annotations

from pathlib import Path

import torch

from capriccio.cli.tour.figures import say, shown
from capriccio.cli.tour.playing import fine_layers
from capriccio.data.landscapes.painter import paint
from capriccio.detection.calibrate import StoredCalibration, stored_calibration
from capriccio.detection.detect import Judged
from capriccio.detection.detector import BASE_RATES, Detector
from capriccio.inversion.project import Projector
from capriccio.inversion.projection import ProjectionSettings
from capriccio.inversion.targets import to_images
from capriccio.latent.files import Latents
from capriccio.loading.model import Model
from capriccio.ops.quantize import dequantize, quantize
from capriccio.rendering.grids import enlarge, image_grid, pictures_of
from capriccio.rendering.look import Look
from capriccio.rendering.mix import MixRequest, save_mix
from capriccio.rendering.report import Command, Section
from capriccio.rendering.verdicts import score_histogram, verdict_sheet, verdict_table

PROJECTED = (4, 2, 7)
"""Which landscapes of the painter are looked for."""
MADE_SEEDS = (103, 106, 108, 110)
"""Pictures of the network that are judged, with random noise."""
JUDGED = (0, 3, 5, 7)
"""Landscapes of the painter that are judged."""
_DESCENT_STEPS = 40
_COLUMN_SEEDS = (33, 40, 57)
_PAINTER_SEED = 7
_SCALE = 2


def project(model: Model, folder: Path, cache: Path) -> Section:
    """Look for painted landscapes in W+, and mix what was found; files go to ``folder``."""
    say("Projecting …")
    images = to_images(list(paint(PROJECTED, model.size, seed=_PAINTER_SEED)))
    settings = ProjectionSettings(space="w+", num_descent_steps=_DESCENT_STEPS)
    found = Projector(model, settings, cache_dir=cache).project(images)
    names = tuple(f"painting {number}" for number in PROJECTED)
    found.save(folder / "projected.safetensors", names)
    pairs = torch.stack([images.to(found.images), found.images], dim=1).flatten(0, 1)
    columns = 2 * len(PROJECTED)
    path = folder / "mix-projected.png"
    rows = Latents(ws=found.ws, names=names)
    layers = fine_layers(model)
    save_mix(model, MixRequest(rows=rows, columns=_COLUMN_SEEDS, layers=layers, look=Look(truncation_psi=0.7)), path)
    return Section(
        heading="From a picture back to its latent",
        blocks=[
            "Any picture can be looked for in the network: which latent would paint it? These are by the program of "
            "the first stop, in a hand the network never learnt, so it finds their light and layout and not their "
            "details. What was found can be mixed, edited and filmed like a seed.",
            shown(
                image_grid([enlarge(p, _SCALE) for p in pictures_of(pairs)], columns),
                "Each painting, and beside it what the network can paint of it "
                f"({found.seconds / len(images):.1f} seconds each).",
            ),
            shown(path.read_bytes(), f"The {layers} layers of three seeds given to what was found."),
            Command(
                lines=[
                    "capriccio project photos/ --space w+ --out projected",
                    "capriccio mix --rows projected/latents.safetensors --cols 33,40,57 "
                    f"--layers {layers} --out mix.png",
                ]
            ),
        ],
    )


def judged_pictures(model: Model, stored: StoredCalibration) -> list[Judged]:
    """Ask the detector about pictures of the network and about painted landscapes."""
    ws = model.ws(seeds=MADE_SEEDS, truncation_psi=0.7)
    # As they would lie in files: rounded, and without a word about where they come from.
    made = dequantize(quantize(model.images(ws, noise_mode="random", noise_seeds=MADE_SEEDS))).cpu()
    images = torch.cat([made, to_images(list(paint(JUDGED, model.size, seed=_PAINTER_SEED)))])
    names = [f"seed {seed}" for seed in MADE_SEEDS] + [f"painting {number}" for number in JUDGED]
    verdicts = Detector(model, stored.calibration, encoder=stored.encoder).detect(images, names)
    return [Judged(verdict=verdict, picture=picture) for verdict, picture in zip(verdicts, images, strict=True)]


def detect(model: Model, cache: Path) -> Section:
    """Show what the detector says about pictures of the network and about painted landscapes.

    Raises: SnapshotError if the model is not calibrated.
    """
    say("Detecting …")
    stored = stored_calibration(model, cache)
    judged = judged_pictures(model, stored)
    return Section(
        heading="Did this network make this picture?",
        blocks=[
            "What a network made it can be made to paint again, nearly; anything else it cannot. Below, four pictures "
            "of the bundled model, with noise it never used before and nothing in their files that gives them away, "
            "and four painted landscapes.",
            shown(
                verdict_sheet(judged, scale=_SCALE),
                "Top: the pictures. Middle: what the network can paint of them. Bottom: the difference, four times "
                "enlarged.",
            ),
            verdict_table(judged),
            score_histogram(stored.calibration, [j.verdict.score for j in judged]),
            BASE_RATES,
            Command(lines=["capriccio detect pictures/ --report verdicts.html"]),
        ],
    )
