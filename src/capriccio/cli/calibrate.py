"""``capriccio calibrate --model M --data REALS``: measure how well known pictures are reconstructed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from capriccio.cli.parser import (
    DEVICE_HELP,
    MODEL_HELP,
    YES_NO,
    CommandParser,
    add_force,
    add_precision,
    at_least,
    existing,
    new_file,
)
from capriccio.cli.progress import shown_measuring, shown_progress
from capriccio.errors import DatasetError, UsageError

if TYPE_CHECKING:
    from capriccio.data.pictures import Pixels
    from capriccio.loading.model import Model

_COUNT, _THOROUGH_COUNT = 300, 1000
_THOROUGH_ENCODER_IMAGES = 100_000


def run(argv: Sequence[str]) -> int:
    """Project known pictures, keep how they score, and say how well the kinds are told apart."""
    asked = _parser().read(argv)
    from capriccio.data.cache import cache_folder
    from capriccio.detection.calibrate import (
        CalibrationRequest,
        calibrate,
        give_encoder,
        save_to_cache,
        write_calibrated,
    )
    from capriccio.detection.detector import LEVEL, detecting_projector
    from capriccio.detection.scoring import FEWEST, auc
    from capriccio.interop.foreign import is_foreign
    from capriccio.inversion.encoder_training import EncoderTraining
    from capriccio.inversion.project import default_distance
    from capriccio.loading.model import find_snapshot, load

    count = asked.count if asked.count is not None else (_THOROUGH_COUNT if asked.thorough else _COUNT)
    at_least("--count", count, FEWEST)
    at_least("--reals", asked.reals, FEWEST)
    at_least("--batch", asked.batch)
    request = CalibrationRequest(num_made=count, edits=asked.edits, batch=asked.batch, thorough=asked.thorough)
    images = asked.encoder_images
    if images is None:
        images = _THOROUGH_ENCODER_IMAGES if asked.thorough else EncoderTraining().num_images
    training = EncoderTraining(num_images=images)
    source = find_snapshot(asked.model)
    if asked.out is not None and is_foreign(source):
        raise UsageError(
            f"--out: '{source}' is a file of another program, which has no place for a calibration. First 'capriccio "
            f"convert {source} {Path(asked.out).with_stem('converted')}', then calibrate that; without --out the "
            "calibration is kept in your cache and found by detect."
        )
    out = None if asked.out is None else new_file(asked.out, "--out", force=asked.force)
    model = load(asked.model, device=asked.device, precision=asked.precision)
    default_distance(model)  # a snapshot without discriminator is refused before an encoder is trained for nothing
    reals = [] if asked.data is None else _photographs(model, asked.data, asked.reals, asked.unseen)
    if asked.encoder == "new" or (asked.encoder == "auto" and model.encoder is None):
        with shown_progress("training an encoder") as progress:
            give_encoder(model, training, progress)
    elif asked.encoder == "none":
        model.encoder = None
    with shown_measuring() as measuring:
        projector = detecting_projector(model, thorough=request.thorough, measuring=measuring)
    with shown_progress("calibrating") as progress:
        calibration = calibrate(model, reals, request, progress, projector)
    if out is None:
        written = save_to_cache(model, calibration, cache_folder())
    else:
        written = out
        write_calibrated(source, out, model, calibration)
    separation = auc(calibration.made, calibration.real) if len(calibration.real) else None
    facts = {"file": str(written), "made": len(calibration.made), "real": len(calibration.real), "auc": separation}
    if asked.json:
        print(json.dumps(facts))
        return 0
    if separation is None:
        print(f"Calibrated from {len(calibration.made)} pictures of the network alone: '{written}'. Without "
              "photographs (--data) nothing can be called made, only not made or undecided.")  # fmt: skip
    else:
        print(f"Calibrated with {len(calibration.made)} made and {len(calibration.real)} photographs, edits included: "
              f"'{written}'. Out of fold, AUC {separation:.3f}.")  # fmt: skip
        if calibration.least_level > LEVEL:
            print(f"With so few photographs nothing can be called made at a level of {LEVEL:g}: give more with --data, "
                  f"or detect with --level {math.ceil(100 * calibration.least_level) / 100:g}.")  # fmt: skip
    return 0


def _photographs(model: Model, data: str, count: int, all_unseen: bool) -> list[Pixels]:
    """Return photographs the network never saw: the run's held-out ones, one half; the other is for final tables.

    Raises: UsageError if there are too few: of them, or of those that ``all_unseen`` promises to be.
    """
    from capriccio.detection.calibrate import calibration_half
    from capriccio.detection.photographs import read_photographs
    from capriccio.detection.scoring import FEWEST

    existing(data, "--data")
    needed = f"--data: a calibration needs at least {FEWEST} photographs;"

    names: set[str] | None = None
    if not all_unseen:
        heldout = list(model.facts.data.get("heldout", []))
        if not heldout:
            raise UsageError(
                "--data: the model does not say which pictures were held out of its training. If it never saw any of "
                "these, add --unseen."
            )
        names = set(calibration_half(heldout)[0])
        if len(names) < FEWEST:
            raise UsageError(
                f"{needed} half of the {len(heldout)} held-out ones are {len(names)}. Train with --holdout "
                f"{2 * FEWEST} or more, or give pictures the network never saw with --data FOLDER --unseen."
            )
    try:
        if names is not None:
            _check_set(model, data, set(heldout))
        pictures = read_photographs(data, model.shape, names, count)
    except DatasetError as error:
        raise UsageError(f"--data: {error}") from error
    if not pictures:
        raise UsageError(f"--data {data}: holds none of the pictures that were held out of training; name the data set "
                         "it was trained on, or photographs it never saw with --unseen.")  # fmt: skip
    if len(pictures) < FEWEST:
        of = "" if names is None else f" of the {len(names)} held-out ones that a calibration takes"
        raise UsageError(f"{needed} '{data}' holds {len(pictures)}{of}.")
    return [pixels for _, pixels in pictures]


def _check_set(model: Model, data: str, heldout: set[str]) -> None:
    """Raise UsageError if ``data`` is another set than the model's, whose pictures happen to have the same names."""
    from capriccio.detection.photographs import strangers

    others, before = strangers(data, heldout), model.facts.data.get("total", 0) - len(heldout)
    if 0 < others < before:  # neither held-out pictures alone, nor the set or what it grew to
        raise UsageError(
            f"--data: '{data}' is not the set this model was trained on, which had {before:,} pictures beside those "
            f"held out, and this has {others:,}. Name that set, its held-out pictures alone, or use --unseen for "
            "pictures it never saw."
        )


def _parser() -> CommandParser:
    parser = CommandParser(
        "calibrate",
        "Measure how well known pictures are reconstructed, so that detect can give error rates.",
        "[--model M] [--data REALS] [--out SNAP] [flags]",
    )
    parser.add_argument("-m", "--model", type=str | None, default=None, help=MODEL_HELP)
    parser.add_argument(
        "--data", type=str | None, default=None,
        help="Photographs: the data set of the run, of which half the held-out ones are taken, or others with "
        "--unseen; null = calibrate from pictures of the network alone.",
    )  # fmt: skip
    parser.add_argument("--unseen", action=YES_NO, default=False, help="The network never saw any picture of --data.")
    parser.add_argument(
        "--out", type=str | None, default=None,
        help="Snapshot to write, the model with its calibration; null = keep the calibration in the user's cache.",
    )  # fmt: skip
    add_force(parser, "the file of --out")
    parser.add_argument(
        "--encoder", type=Literal["auto", "new", "none"], default="auto",
        help="What guesses where projection starts: auto = the model's own, trained where it has none; new = trained "
        "anew; none = start from the middle of W.",
    )  # fmt: skip
    parser.add_argument(
        "--encoder-images", type=int | None, default=None,
        help="Pictures of the network an encoder learns from; null = 16000, with --thorough 100000.",
    )  # fmt: skip
    parser.add_argument(
        "--thorough", action=YES_NO, default=False,
        help="For releases: a longer training of the encoder, three starts for each picture, 1000 pictures.",
    )  # fmt: skip
    parser.add_argument(
        "--count", type=int | None, default=None,
        help="Pictures of the network, at least 20; null = 300, with --thorough 1000.",
    )  # fmt: skip
    parser.add_argument("--reals", type=int, default=300, help="At most this many photographs; at least 20.")
    parser.add_argument(
        "--edits", action=YES_NO, default=True, help="Project each again after a random edit, and after a reduction."
    )
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    add_precision(parser, "Of the highest levels; bf16 is faster. Verdicts are asked for in the same.")
    parser.add_argument("--batch", type=int, default=16, help="Pictures at once; no result depends on it.")
    parser.add_argument("--json", action="store_true", help="Print facts as one JSON document.")
    return parser
