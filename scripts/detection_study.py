"""How well the detector tells a model's pictures from photographs it never saw: the table of docs/detection.md.

    python scripts/detection_study.py CALIBRATED.safetensors --data landscapes-128.zip --count 200 --out study

Pictures of both classes are none of those used for calibration: fresh seeds, and the half of the held-out photographs
that ``capriccio calibrate`` leaves alone. Every edit is applied to both classes alike. Writes ``study/detection.json``
and ``study/scores.svg``; intervals are bootstrap, 95 %.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

import capriccio
from capriccio.data.pictures import Pixels
from capriccio.detection.calibrate import calibration_half, made_picture, stored_calibration
from capriccio.detection.detect import judge_in_batches
from capriccio.detection.detector import Detector, Verdict
from capriccio.detection.edits import Picture, jpeg, resized_and_back
from capriccio.detection.photographs import read_photographs
from capriccio.detection.scoring import auc
from capriccio.inversion.targets import to_images
from capriccio.loading.model import Model
from capriccio.rendering.report import plot_file
from capriccio.rendering.verdicts import score_histogram

FIRST_INDEX = 1_000_000
"""Calibration pictures have lower numbers."""

NUM_BOOTSTRAPS = 2000

EDITS = {
    "none": lambda picture: picture,
    "jpeg75": lambda picture: jpeg(picture, 75),
    "half": lambda picture: resized_and_back(picture, 0.5),
}


def edited(pixels: Pixels, edit: str) -> Pixels:
    """Return a picture [3, H, W] after an edit."""
    picture: Picture = EDITS[edit](Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))))
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def judge(detector: Detector, pictures: list[Pixels], batch: int) -> list[Verdict]:
    """Return the verdicts of pictures."""
    names = [str(i) for i in range(len(pictures))]
    return judge_in_batches(detector, to_images(pictures), names, batch)


def summary(made: list[Verdict], real: list[Verdict]) -> dict[str, object]:
    """Return AUC of score and of raw distance, what is found at 1 % false alarms, and how verdicts fall."""
    scores = [np.array([v.score for v in vs]) for vs in (made, real)]
    distances = [-np.array([v.distance for v in vs]) for vs in (made, real)]
    rng = np.random.default_rng(0)
    again = [auc(*(rng.choice(s, len(s)) for s in scores)) for _ in range(NUM_BOOTSTRAPS)]
    threshold = np.quantile(scores[1], 0.99, method="higher")
    kinds = ("made", "undecided", "not-made", "out-of-domain")
    return {
        "made": len(made),
        "real": len(real),
        "auc": auc(*scores),
        "auc_95": [float(np.quantile(again, q)) for q in (0.025, 0.975)],
        "auc_of_distance": auc(*distances),
        "found_at_1_percent": float((scores[0] > threshold).mean()),
        "verdicts_of_made": {k: sum(v.verdict == k for v in made) for k in kinds},
        "verdicts_of_real": {k: sum(v.verdict == k for v in real) for k in kinds},
        "median_seconds": float(np.median([v.seconds for v in made + real])),
    }


def unseen_photographs(model: Model, data: str, count: int) -> list[Pixels]:
    """Return held-out photographs that no calibration uses."""
    names = set(calibration_half(list(model.facts.data["heldout"]))[1])
    return [pixels for _, pixels in read_photographs(data, model.shape, names, count)]


def main() -> None:
    """Judge, count, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="calibrated snapshot")
    parser.add_argument("--data", required=True, help="the data set it was trained on")
    parser.add_argument("--count", type=int, default=200, help="pictures of each class")
    parser.add_argument("--edits", default="none,jpeg75,half", help=f"of {', '.join(EDITS)}")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("detection-study"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    model = capriccio.load(arguments.model)
    calibration = stored_calibration(model, Path())
    detector = Detector(model, calibration)
    made = [made_picture(model, FIRST_INDEX + i) for i in range(arguments.count)]
    real = unseen_photographs(model, arguments.data, arguments.count)
    table: dict[str, object] = {"model": model.model_hash}
    for edit in arguments.edits.split(","):
        started = time.monotonic()
        found = [judge(detector, [edited(p, edit) for p in kind], arguments.batch) for kind in (made, real)]
        table[edit] = summary(*found) | {"seconds": round(time.monotonic() - started)}
        (arguments.out / "detection.json").write_text(json.dumps(table, indent=1))
        print(edit, json.dumps(table[edit]), flush=True)
    (arguments.out / "scores.svg").write_text(plot_file(score_histogram(calibration)))


if __name__ == "__main__":
    main()
