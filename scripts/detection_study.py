"""How well the detector tells a model's pictures from others: the tables of docs/detection.md.

    python scripts/detection_study.py CALIBRATED.safetensors --data landscapes-128.zip --count 200 --out study \
        --network older=older.safetensors --network bf16=landscapes-64,precision=bf16 \
        --network tuned=landscapes-64,tuning=tuning.safetensors --others 60 --variants 40

Pictures of both classes are none of those used for calibration: fresh seeds painted with random noise, and the half of
the held-out photographs that ``capriccio calibrate`` leaves alone. Every edit is applied to both classes alike. Groups
beside them: ``stored``, the model's pictures with its stored noise, and pictures by other networks (``--network``),
relatives of the model or strangers. ``--cross N`` judges all held-out photographs, each by a calibration that never saw
its half. ``--variants N`` projects N pictures of each class with fewer steps, without noise
maps, without the encoder.

What a projection found is kept in ``OUT/<group>-<edit>.npz`` and not computed again, so the study can be interrupted,
and begun before there is a calibration. The table goes to ``OUT/detection.json``, histograms to ``OUT/scores.svg``.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import capriccio
from capriccio.data.pictures import Pixels
from capriccio.detection.calibrate import PSIS, calibration_half, made_picture, stored_calibration
from capriccio.detection.detector import decide, detecting_projector, evidence_of
from capriccio.detection.edits import EDITS as CALIBRATION_EDITS
from capriccio.detection.edits import Edit, jpeg, random_edit, resized_and_back
from capriccio.detection.evidence import FEATURES
from capriccio.detection.photographs import read_photographs
from capriccio.detection.scoring import NUM_FOLDS, Calibration, auc, calibrate_scores
from capriccio.errors import SnapshotError
from capriccio.inversion.project import Projector
from capriccio.inversion.targets import to_images
from capriccio.loading.model import Model
from capriccio.ops.quantize import quantize
from capriccio.rendering.report import plot_file
from capriccio.rendering.verdicts import score_histogram

FIRST_INDEX = 1_000_000
"""Calibration pictures have lower numbers."""

NUM_BOOTSTRAPS = 2000
LEVEL = 0.01
VERDICTS = ("made", "undecided", "not-made", "out-of-domain")


EDITS: dict[str, Edit] = {
    "none": lambda picture, rng: picture,
    "jpeg75": lambda picture, rng: jpeg(picture, 75),
    "half": lambda picture, rng: resized_and_back(picture, 0.5),
    "random": lambda picture, rng: random_edit(picture, rng)[1],
    "reduced": CALIBRATION_EDITS["resize"],
}

CALIBRATING = ("none", "random", "reduced")
"""The versions of a picture that calibrations take."""

Numbers = NDArray[np.float64]
Found = dict[str, Numbers]


def edited(pixels: Pixels, edit: str) -> Pixels:
    """Return a picture [3, H, W] after an edit."""
    rng = np.random.default_rng(zlib.crc32(pixels.tobytes()))
    picture = EDITS[edit](Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))), rng)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def found_for(path: Path, projector: Projector, pictures: Callable[[], Sequence[Pixels]], batch: int) -> Found:
    """Return evidence, distances and seconds of a group of pictures, from ``path`` where it is there already."""
    if path.is_file():
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}
    rows, distances, seconds = [], [], []
    known = pictures()
    for start in range(0, len(known), batch):
        images = to_images(list(known[start : start + batch]))
        projection = projector.project(images)
        rows.append(evidence_of(projector, images, projection))
        distances.append(projection.distances.double().cpu().numpy())
        seconds.append(np.full(len(images), projection.seconds / len(images)))
        print(f"{path.stem}: {start + len(images)} of {len(known)}", flush=True)
    found = {
        "evidence": np.concatenate(rows),
        "distances": np.concatenate(distances),
        "seconds": np.concatenate(seconds),
    }
    np.savez(path, **found)
    return found


def pictures_of(model: Model, count: int, *, stored_noise: bool = False) -> list[Pixels]:
    """Return pictures of a network, half of them truncated."""
    if not stored_noise:
        return [made_picture(model, FIRST_INDEX + i) for i in range(count)]
    ws = [model.ws(seeds=[FIRST_INDEX + i], truncation_psi=PSIS[i % 2]) for i in range(count)]
    return [quantize(model.images(w))[0].cpu().numpy() for w in ws]


def other_network(text: str) -> Model:
    """Open ``SNAPSHOT``, ``SNAPSHOT,precision=bf16`` or ``SNAPSHOT,tuning=FILE``."""
    source, *more = text.split(",")
    said = dict(part.split("=", 1) for part in more)
    model = capriccio.load(source, precision=said.pop("precision", "fp32"))
    if "tuning" in said:
        model = model.tuned(Path(said.pop("tuning")))
    if said:
        raise SystemExit(f"--network: '{text}' says {', '.join(said)}; there are precision and tuning.")
    return model


def heldout_photographs(model: Model, data: str, count: int, half: int = 1) -> list[Pixels]:
    """Return held-out photographs: of half 0, which calibrations take, or of half 1, which they leave alone."""
    names = set(calibration_half(list(model.facts.data["heldout"]))[half])
    return [pixels for _, pixels in read_photographs(data, model.shape, names, count)]


def stacked(versions: Sequence[Found]) -> tuple[Numbers, NDArray[np.int64]]:
    """Return the evidence of all versions of the same pictures, version by version, and which picture each row is."""
    rows = [version["evidence"] for version in versions]
    return np.concatenate(rows), np.tile(np.arange(len(rows[0])), len(rows))


def auc_interval(kinds: Iterable[tuple[float, Sequence[Numbers]]]) -> list[float]:
    """Return the 95 % interval of a mean AUC by drawing pictures again; ``kinds``: weights, scores of made and real."""
    rng, kinds = np.random.default_rng(0), list(kinds)
    again = [
        sum(weight * auc(*(rng.choice(scores, len(scores)) for scores in pair)) for weight, pair in kinds)
        for _ in range(NUM_BOOTSTRAPS)
    ]
    return [float(np.quantile(again, q)) for q in (0.025, 0.975)]


def verdicts(calibration: Calibration, evidence: Numbers) -> dict[str, int]:
    """Count the verdicts at the usual level."""
    read = calibration.read(evidence)
    told = [decide(float(a), float(b), LEVEL) for a, b in zip(read.p_made, read.p_not_made, strict=True)]
    return {name: told.count(name) for name in VERDICTS if name in told}


def separation(calibration: Calibration, made: Found, real: Found) -> dict[str, object]:
    """Return AUC of score, energy and raw distance with an interval, and what is found at 1 % false alarms."""
    scores = [calibration.scorer.scores(f["evidence"]) for f in (made, real)]
    threshold = np.quantile(scores[1], 1 - LEVEL, method="higher")
    return {
        "made": len(scores[0]),
        "real": len(scores[1]),
        "auc": auc(*scores),
        "auc_95": auc_interval([(1.0, scores)]),
        "auc_of_energy": auc(-made["evidence"][:, 0], -real["evidence"][:, 0]),
        "auc_of_distance": auc(-made["distances"], -real["distances"]),
        "found_at_1_percent": float((scores[0] > threshold).mean()),
        "seconds": float(np.median(np.concatenate([made["seconds"], real["seconds"]]))),
    }


def shift(calibration: Calibration, before: Found, after: Found) -> dict[str, float]:
    """Return by how much an edit moves the score of the same pictures, median, and what part of it each number has."""
    moved = after["evidence"] - before["evidence"]
    scorer = calibration.scorer
    parts = np.median(moved, axis=0) / scorer.spread * scorer.weights.mean(axis=0)[:-1]
    total = np.median(scorer.scores(after["evidence"]) - scorer.scores(before["evidence"]))
    return {"score": float(total)} | {name: float(part) for name, part in zip(FEATURES, parts, strict=True)}


def by_complexity(calibration: Calibration, made: Found, real: Found) -> list[dict[str, object]]:
    """Return verdicts in three equal parts of the photographs, by how much detail they have, and of the made alike."""
    column = FEATURES.index("log_detail_1")
    limits = np.quantile(real["evidence"][:, column], (1 / 3, 2 / 3))
    rows: list[dict[str, object]] = []
    for part, name in enumerate(("plain", "middling", "busy")):
        row: dict[str, object] = {"part": name}
        for kind, found in (("made", made), ("real", real)):
            chosen = found["evidence"][np.digitize(found["evidence"][:, column], limits) == part]
            row[kind] = {"pictures": len(chosen)} | verdicts(calibration, chosen)
        rows.append(row)
    return rows


def variants(model: Model, projector: Projector) -> dict[str, Projector]:
    """Return other ways to project, by name."""
    usual = projector.settings
    bare = copy.copy(model)
    bare.encoder = None
    ways = {f"steps{n}": Projector(model, replace(usual, num_steps=n)) for n in (1, 3, 12)}
    ways["const-noise"] = Projector(model, replace(usual, optimize_noise=False))
    ways["no-encoder"] = Projector(bare, replace(usual, num_steps=None))
    return ways


def out_of_fold(made: Found, real: Found) -> dict[str, object]:
    """Return how well two groups part when the score is fitted on themselves, out of fold."""
    kinds = [f["evidence"] for f in (made, real)]
    fitted = calibrate_scores(kinds[0], kinds[1], np.arange(len(kinds[0])), np.arange(len(kinds[1])), {})
    seconds = float(np.median(np.concatenate([made["seconds"], real["seconds"]])))
    return {
        "pictures": [len(k) for k in kinds],
        "auc": auc(fitted.made, fitted.real),
        "found_without_false_alarm": float((fitted.made > fitted.real[-1]).mean()),
        "seconds": seconds,
    }


def refitted(pairs: dict[str, tuple[Found, Found]], known: Sequence[str]) -> dict[str, dict[str, object]]:
    """Calibrate on the groups ``known`` of these pictures and judge every group, all versions of a picture out of fold.

    Told of each class: the shares above the limit of photographs, between the limits, below the limit of made pictures.
    Limits are the quantiles at 1 % of the scores of the known ones.
    """
    edits = [*known, *(edit for edit in pairs if edit not in known)]
    (made_known, made_groups), (real_known, real_groups) = (
        stacked([pairs[edit][kind] for edit in known]) for kind in (0, 1)
    )
    scorer = calibrate_scores(made_known, real_known, made_groups, real_groups, {}).scorer
    made, real = (
        np.split(scorer.fold_scores(rows, groups % NUM_FOLDS), len(edits))
        for rows, groups in (stacked([pairs[edit][kind] for edit in edits]) for kind in (0, 1))
    )
    low = np.quantile(np.concatenate(made[: len(known)]), LEVEL, method="lower")
    high = np.quantile(np.concatenate(real[: len(known)]), 1 - LEVEL, method="higher")
    told: dict[str, dict[str, object]] = {}
    for edit, a, b in zip(edits, made, real, strict=True):
        told[edit] = {
            "auc": auc(a, b),
            "made": [float((a > high).mean()), float(((a > low) & (a <= high)).mean()), float((a <= low).mean())],
            "real": [float((b > high).mean()), float(((b > low) & (b <= high)).mean()), float((b <= low).mean())],
        }
    return told


def crossed(
    pairs: dict[str, tuple[Found, Found]], known: Sequence[Found], other_half: dict[str, Found]
) -> dict[str, dict[str, object]]:
    """Judge all held-out photographs, each by a calibration with the other half of them, and made pictures by both.

    Args:
        pairs: made pictures and the untouched half of the photographs, by edit.
        known: the made pictures of a calibration, as they are and edited.
        other_half: the photographs that calibrations take, by edit.
    """
    halves = [{edit: real for edit, (_, real) in pairs.items()}, other_half]
    made_known, made_groups = stacked(known)
    calibrations = []
    for half in halves:
        real_known, real_groups = stacked([half[edit] for edit in CALIBRATING])
        calibrations.append(calibrate_scores(made_known, real_known, made_groups, real_groups, {}))
    table: dict[str, dict[str, object]] = {}
    for edit, (made, _) in pairs.items():
        judged = list(zip(calibrations, (halves[1][edit], halves[0][edit]), strict=True))
        scores = [[c.scorer.scores(f["evidence"]) for f in (made, real)] for c, real in judged]
        share = np.array([len(real) for _, real in scores], dtype=np.float64) / sum(len(real) for _, real in scores)
        above = [[(c.read(f["evidence"]).p_not_made <= LEVEL).mean() for f in (made, real)] for c, real in judged]
        table[edit] = {
            "made": len(scores[0][0]),
            "real": sum(len(real) for _, real in scores),
            "auc": float(sum(p * auc(*kinds) for p, kinds in zip(share, scores, strict=True))),
            "auc_95": auc_interval(zip(share, scores, strict=True)),
            "above_limit": {
                "made": float(np.mean([m for m, _ in above])),
                "real": float(sum(p * r for p, (_, r) in zip(share, above, strict=True))),
            },
            "verdicts": {
                "made, both times": add_up(verdicts(c, made["evidence"]) for c in calibrations),
                "real": add_up(verdicts(c, real["evidence"]) for c, real in judged),
            },
            "seconds": float(np.median(np.concatenate([f["seconds"] for f in (made, *(h[edit] for h in halves))]))),
        }
    return table


def add_up(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return the sum of counts by name."""
    return dict(sum((Counter(c) for c in counts), Counter()))


def some(found: Found, rows: slice) -> Found:
    """Return a part of a group."""
    return {name: values[rows] for name, values in found.items()}


@dataclass
class Projected:
    """What projections found, by group."""

    pairs: dict[str, tuple[Found, Found]]
    """Made pictures and the untouched half of the photographs, by edit."""
    others: dict[str, Found]
    """Pictures of other networks, by name, and the model's own with its stored noise."""
    ways: dict[str, object]
    """How well both classes part when they are projected otherwise."""
    known: list[Found]
    """For --cross: the made pictures of a calibration, as they are and edited."""
    other_half: dict[str, Found]
    """For --cross: the photographs that calibrations take, by edit."""


def project_all(model: Model, arguments: argparse.Namespace) -> Projected:
    """Project every group that is asked for."""
    projector = detecting_projector(model)
    edits = arguments.edits.split(",")

    def group(name: str, edit: str, source: Callable[[], list[Pixels]], way: Projector = projector) -> Found:
        path = arguments.out / f"{name}-{edit}.npz"
        return found_for(path, way, lambda: [edited(p, edit) for p in source()], arguments.batch)

    def photographs(count: int, half: int = 1) -> list[Pixels]:
        return heldout_photographs(model, arguments.data, count, half)

    pairs = {}
    for edit in edits:
        real = group("real", edit, lambda: photographs(arguments.count))
        pairs[edit] = (group("made", edit, lambda: pictures_of(model, arguments.count)), real)
    known: list[Found] = []
    other_half: dict[str, Found] = {}
    if arguments.cross:
        calibrating = [made_picture(model, i) for i in range(arguments.cross)]
        known = [group("known", edit, lambda: calibrating) for edit in CALIBRATING]
        other_half = {edit: group("calibrating", edit, lambda: photographs(arguments.count, half=0)) for edit in edits}
    others = {"stored": group("stored", "none", lambda: pictures_of(model, arguments.others, stored_noise=True))}
    for asked in arguments.network:
        name, _, path = asked.partition("=")
        others[name] = group(name, "none", lambda p=path: pictures_of(other_network(p), arguments.others))
    ways: dict[str, object] = {}
    if arguments.variants:
        made, real = pairs["none"]
        few = slice(arguments.variants)
        ways["usual"] = out_of_fold(some(made, few), some(real, few))
        for name, way in variants(model, projector).items():
            parts = [
                group(f"made-{name}", "none", lambda: pictures_of(model, arguments.variants), way),
                group(f"real-{name}", "none", lambda: photographs(arguments.variants), way),
            ]
            ways[name] = out_of_fold(*parts)
        for name, rows in (("psi1", slice(0, None, 2)), ("psi0.7", slice(1, None, 2))):
            ways[name] = out_of_fold(some(made, rows), real)
    return Projected(pairs, others, ways, known, other_half)


def judged(calibration: Calibration, found: Projected, refits: Sequence[str]) -> dict[str, object]:
    """Return the tables of the study; ``refits``: groups to calibrate on anew, like none+random."""
    pairs = found.pairs
    table: dict[str, object] = {"ways": found.ways}
    for edit, (made, real) in pairs.items():
        told = {name: verdicts(calibration, f["evidence"]) for name, f in (("made", made), ("real", real))}
        moves = {
            name: shift(calibration, before, after)
            for name, before, after in zip(("made", "real"), pairs.get("none", ()), (made, real), strict=False)
        }
        table[edit] = separation(calibration, made, real) | {"verdicts": told, "shift": moves}
    table["refit"] = {known: refitted(pairs, known.split("+")) for known in refits}
    if found.known:
        table["cross"] = crossed(pairs, found.known, found.other_half)
    table["by_complexity"] = by_complexity(calibration, *pairs["none"])
    made_scores, real_scores = (calibration.scorer.scores(f["evidence"]) for f in pairs["none"])
    for name, other in found.others.items():
        scores = calibration.scorer.scores(other["evidence"])
        table[name] = {
            "pictures": len(scores),
            "verdicts": verdicts(calibration, other["evidence"]),
            "auc": auc(made_scores, scores),
            "above_photographs": auc(scores, real_scores),
        }
    return table


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="snapshot, calibrated or not yet")
    parser.add_argument("--data", required=True, help="the data set it was trained on")
    parser.add_argument("--count", type=int, default=200, help="pictures of each class")
    parser.add_argument("--edits", default="none,jpeg75,half", help=f"of {', '.join(EDITS)}")
    parser.add_argument("--network", action="append", default=[], metavar="NAME=SNAPSHOT", help="other networks")
    parser.add_argument(
        "--refit", action="append", default=[], metavar="EDIT+EDIT", help="calibrate on these groups, out of fold"
    )
    parser.add_argument(
        "--cross", type=int, default=0, metavar="N",
        help="judge the calibrating half too, by calibrations with N made pictures",
    )  # fmt: skip
    parser.add_argument("--others", type=int, default=100, metavar="N", help="pictures of each other network")
    parser.add_argument("--variants", type=int, default=0, metavar="N", help="pictures for other ways to project")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("detection-study"))
    arguments = parser.parse_args()
    if arguments.cross and not set(CALIBRATING) <= set(arguments.edits.split(",")):
        parser.error(f"--cross calibrates on the edits {', '.join(CALIBRATING)}; --edits has to name them.")
    return arguments


def main() -> None:
    """Project, judge, count, write."""
    arguments = parsed()
    arguments.out.mkdir(parents=True, exist_ok=True)
    model = capriccio.load(arguments.model)
    started = time.monotonic()
    found = project_all(model, arguments)
    print(f"projected in {time.monotonic() - started:.0f} s; ways: {json.dumps(found.ways)}")
    try:
        calibration = stored_calibration(model, Path()).calibration
    except SnapshotError as error:
        print(f"no table yet: {error}")
        return
    table = {"model": model.model_hash} | judged(calibration, found, arguments.refit)
    (arguments.out / "detection.json").write_text(json.dumps(table, indent=1))
    (arguments.out / "scores.svg").write_text(plot_file(score_histogram(calibration)))
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
