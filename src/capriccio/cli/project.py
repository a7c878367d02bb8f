"""``capriccio project IMG... --model M --out DIR``: pictures back to latents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from capriccio.cli.parser import (
    CLASS_HELP,
    DEVICE_HELP,
    MODEL_HELP,
    YES_NO,
    CommandParser,
    add_precision,
    folder_to_write,
)
from capriccio.cli.picture_flags import class_of
from capriccio.cli.progress import shown_measuring, shown_progress
from capriccio.errors import JobError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from capriccio.config import ImageShape


def run(argv: Sequence[str]) -> int:
    """Project the pictures and say how well each was found."""
    asked = _parser().read(argv)
    if not asked.pictures:
        raise UsageError("name at least one picture or a folder of them.")
    from capriccio.inversion.pivotal import TuningSettings
    from capriccio.inversion.project import Projector, default_distance
    from capriccio.inversion.projection import ProjectionSettings
    from capriccio.inversion.targets import find_pictures, open_targets
    from capriccio.loading.model import load
    from capriccio.perception.catalogue import Perception
    from capriccio.perception.weights import parse_sources
    from capriccio.rendering.projection import LATENTS_FILE, ProjectRequest, save_projections
    from capriccio.rendering.tuning import TuneRequest, save_tunings

    settings = ProjectionSettings(
        method=asked.method,
        space=asked.space,
        num_steps=asked.steps,
        num_restarts=asked.restarts,
        num_descent_steps=asked.descent,
        optimize_noise=asked.optimize_noise,
        seed=asked.seed,
    )
    request = ProjectRequest(folder=folder_to_write(asked.out, "--out"), batch=asked.batch, film=asked.film)
    tuning = None
    if asked.tune != "none":
        tuning = TuneRequest(
            folder=request.folder,
            together=asked.tune == "together",
            settings=TuningSettings(num_steps=asked.tune_steps, locality=asked.tune_locality, batch=asked.batch),
        )
    paths = find_pictures(asked.pictures)
    model = load(asked.model, device=asked.device, precision=asked.precision)
    chosen = class_of(asked, model)
    request = replace(request, class_index=chosen)
    tuning = None if tuning is None else replace(tuning, class_index=chosen)
    perception = Perception(
        channels=model.channels,
        weights=parse_sources(asked.weights),
        reference=model.discriminator,
        device=model.device,
    )
    distance = None if asked.distance == "discriminator" else perception.distance(asked.distance)
    masks = None if asked.mask is None else _mask(Path(asked.mask), model.shape)
    targets = list(open_targets(paths, model.shape))
    if all(target.pixels is None for target in targets):
        _tell([{"file": str(target.path), "error": target.problem} for target in targets], as_json=asked.json)
        raise JobError("none of the pictures could be projected.")
    c = None if chosen is None else model.label(chosen)
    with shown_measuring() as measuring:
        projector = Projector(model, settings, distance=distance, c=c, progress=measuring)
    with shown_progress("projecting") as progress:
        records = save_projections(projector, targets, request, masks, lambda step: progress(step.step, step.num_steps))
    if tuning is not None:
        with shown_progress("tuning") as progress:
            records = save_tunings(
                model, targets, tuning, distance or default_distance(model), masks,
                lambda step: progress(step.step, step.num_steps),
            )  # fmt: skip
    _tell(records, as_json=asked.json)
    if not asked.json:
        print(f"Latents for mix, edit, video and generate: '{request.folder / LATENTS_FILE}'.")
    return 0


def _tell(records: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print what was found for each picture, or what is wrong with it."""
    from capriccio.rendering.projection import readable

    for line in [json.dumps(records, ensure_ascii=False)] if as_json else readable(records):
        print(line)


def _mask(path: Path, shape: ImageShape) -> Tensor:
    """Return a mask picture as [1, 1, H, W] in 0…1; white counts. Raises: UsageError if it cannot be used."""
    import dataclasses

    from capriccio.data.pictures import PictureError
    from capriccio.inversion.targets import to_images, to_target

    try:
        pixels, _ = to_target(path.read_bytes(), dataclasses.replace(shape, channels=1))
    except (PictureError, OSError) as error:
        raise UsageError(f"--mask {path}: {error}.") from error
    mask = (to_images([pixels]) + 1) / 2
    if float(mask.max()) == 0:
        raise UsageError(f"--mask {path}: is black everywhere, so nothing would count; white marks what counts.")
    return mask


def _parser() -> CommandParser:
    parser = CommandParser(
        "project",
        "Find the latents of pictures: what the network would have to be given to paint them.",
        "IMG... [--model M] [--out DIR] [flags]",
    )
    parser.add_argument("pictures", type=str, nargs="*", help="Pictures, or folders of them.")
    parser.add_argument("-m", "--model", type=str | None, default=None, help=MODEL_HELP)
    parser.add_argument("--out", type=str, default="projected", help="Folder for what is found; finished ones stay.")
    parser.add_argument(
        "--method", type=Literal["fast", "official"], default="fast",
        help="fast: a guess and Gauss-Newton steps; official: that of the StyleGAN2 paper, step for step.",
    )  # fmt: skip
    parser.add_argument(
        "--space", type=Literal["w", "w+"], default="w",
        help="w: one row for all layers; w+: a row for each, nearer to photographs but harder to edit.",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int | None, default=None,
        help="Steps; null = 12 linearisations from an encoder's guess, 24 without one (fast), 1000 (official).",
    )  # fmt: skip
    parser.add_argument(
        "--descent", type=int, default=0,
        help="Steps of the fast method that make --distance small, after the others; w+ takes at least 40.",
    )  # fmt: skip
    parser.add_argument("--restarts", type=int, default=1, help="Starts of the fast method; the best is kept.")
    parser.add_argument(
        "--optimize-noise", action=YES_NO, default=False, help="Let the fast method look for noise maps too."
    )
    parser.add_argument("--seed", type=int, default=303, help="Of what the official method draws.")
    parser.add_argument("--mask", type=str | None, default=None, help="Picture whose white pixels count; null = all.")
    parser.add_argument(
        "--distance", type=Literal["discriminator", "vgg", "squeeze"], default="discriminator",
        help="What is made small; the model's own discriminator needs no --weights.",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=str, action="append", default=[], metavar="KEY=PATH",
        help="Published weights, by path or address. Repeatable.",
    )  # fmt: skip
    tuning = parser.add_argument_group("pivotal tuning")
    tuning.add_argument(
        "--tune", type=Literal["none", "each", "together"], default="none",
        help="Fine-tune the network until the latents paint the pictures: each = for every picture apart, the nearest; "
        "together = one tuning for all, which can be mixed. Saved as a small file beside the latents.",
    )  # fmt: skip
    tuning.add_argument("--tune-steps", type=int, default=200, help="Steps of it; more come nearer.")
    tuning.add_argument(
        "--tune-locality", type=float, default=0.3,
        help="How firmly the network is held to what it painted around the latents; 0 = not at all.",
    )  # fmt: skip
    parser.add_argument("--film", action=YES_NO, default=False, help="Keep the way there as an animation.")
    parser.add_argument("--class", type=str | None, default=None, help=CLASS_HELP)
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    add_precision(parser, "Of the highest levels; bf16 is faster. Latents are found in fp32 more exactly.")
    parser.add_argument("--batch", type=int, default=16, help="Pictures at once; no result depends on it.")
    parser.add_argument("--json", action="store_true", help="Print what was found as one JSON document.")
    return parser
