"""Our projection beside the official one, on pictures of a network and on photographs: a table of docs/projection.md.

    python scripts/projection_study.py landscapes-64 --data landscapes-128.zip --out study \
        --weights squeeze=… --weights lpips-squeeze=…

Made pictures have fresh seeds and random noise, half at ψ 1, half at 0.7; photographs are held-out ones, from all over
the list. All methods search W and the noise maps, with the distance by the discriminator where they use one; the
LPIPS-like squeeze distance, which none of them sees, is the referee. Time is the processor's: set OMP_NUM_THREADS=1.

What a batch gave is kept in ``OUT/<method>-<number>.npz`` and not computed again. ``--single N`` projects N of the
pictures once more, one at a time, for the time a batch of one takes. All goes to ``OUT/projection.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import capriccio
from capriccio.detection.calibrate import made_picture
from capriccio.detection.photographs import read_photographs
from capriccio.inversion.project import Projector
from capriccio.inversion.projection import ProjectionSettings
from capriccio.inversion.targets import to_images
from capriccio.loading.model import Model
from capriccio.perception.catalogue import Perception
from capriccio.perception.protocols import PerceptualDistance, distances
from capriccio.perception.weights import parse_sources

FIRST_INDEX = 2_000_000
"""Calibration pictures and those of the detection study have lower numbers."""

METHODS = {
    "official": ProjectionSettings(method="official"),
    "fast": ProjectionSettings(optimize_noise=True),
    "fast-descent": ProjectionSettings(optimize_noise=True, num_descent_steps=10),
}
Found = dict[str, NDArray[np.float64]]


def project_batch(path: Path, projector: Projector, images: Tensor, referee: PerceptualDistance) -> Found:
    """Return distances, the referee's, rms errors in grey levels and processor seconds, from ``path`` if there."""
    if path.is_file():
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}
    started = time.process_time()
    projection = projector.project(images)
    seconds = time.process_time() - started
    with torch.no_grad():
        judged = distances(referee, projection.images, images.to(projection.images))
    error = (projection.images - images.to(projection.images)).square().mean(dim=(1, 2, 3)).sqrt() * 127.5
    found = {
        "distance": projection.distances.double().cpu().numpy(),
        "referee": judged.double().cpu().numpy(),
        "rms": error.double().cpu().numpy(),
        "seconds": np.full(len(images), seconds / len(images)),
    }
    np.savez(path, **found)
    print(f"{path.stem}: {seconds / len(images):.2f} processor seconds a picture", flush=True)
    return found


def pictures(model: Model, data: str, count: int) -> Tensor:
    """Return ``count`` photographs the model never saw, then as many pictures of its own, [2 * count, C, H, W]."""
    names = set(model.facts.data["heldout"])
    photographs = [pixels for _, pixels in read_photographs(data, model.shape, names, len(names))]
    chosen = [photographs[i * len(photographs) // count] for i in range(count)]
    return to_images(chosen + [made_picture(model, FIRST_INDEX + i) for i in range(count)])


def row(found: Found, official: Found) -> dict[str, float]:
    """Return medians, and in how many pictures the referee sees less than with the official method."""
    medians = {name: float(np.median(found[name])) for name in ("distance", "referee", "rms")}
    nearer = int((found["referee"] < official["referee"]).sum())
    return medians | {"nearer": nearer, "pictures": len(found["referee"]), "seconds": float(found["seconds"].mean())}


def main() -> None:
    """Project, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="snapshot or name")
    parser.add_argument("--data", required=True, help="the data set it was trained on, with its held-out pictures")
    parser.add_argument("--count", type=int, default=20, help="pictures of each kind")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--single", type=int, default=0, metavar="N", help="pictures to project one at a time")
    parser.add_argument("--weights", action="append", default=[], help="of the referee: squeeze and lpips-squeeze")
    parser.add_argument("--out", type=Path, default=Path("projection-study"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    model = capriccio.load(asked.model)
    perception = Perception(channels=model.channels, weights=parse_sources(asked.weights), device=model.device)
    referee = perception.distance("squeeze")
    images = pictures(model, asked.data, asked.count)
    found: dict[str, Found] = {}
    singles: dict[str, float] = {}
    for name, settings in sorted(METHODS.items(), reverse=True, key=lambda item: item[1].method == "fast"):
        projector = Projector(model, settings)
        parts = [
            project_batch(
                asked.out / f"{name}-{start:03d}.npz", projector, images[start : start + asked.batch], referee
            )
            for start in range(0, len(images), asked.batch)
        ]
        found[name] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        alone = [
            project_batch(asked.out / f"{name}-alone-{i:03d}.npz", projector, images[i : i + 1], referee)
            for i in range(0, len(images), max(1, len(images) // max(1, asked.single)))
        ][: asked.single] if asked.single else []  # fmt: skip
        if alone:
            singles[name] = float(np.mean([part["seconds"][0] for part in alone]))
    kinds = {"photographs": slice(0, asked.count), "made": slice(asked.count, None), "all": slice(None)}
    table = {
        kind: {
            name: row({k: v[rows] for k, v in f.items()}, {k: v[rows] for k, v in found["official"].items()})
            for name, f in found.items()
        }
        for kind, rows in kinds.items()
    }
    result = {"model": model.model_hash, "batch": asked.batch, "seconds_alone": singles, "table": table}
    (asked.out / "projection.json").write_text(json.dumps(result, indent=1))
    print("| pictures | method | processor s | distance | referee | rms | nearer than the official one |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for kind, rows in table.items():
        for name, r in rows.items():
            print(f"| {kind} | {name} | {r['seconds']:.2f} | {r['distance']:.3f} | {r['referee']:.3f} | "
                  f"{r['rms']:.1f} | {r['nearer']} of {r['pictures']} |")  # fmt: skip
    print(f"one at a time: {', '.join(f'{name} {s:.2f} s' for name, s in singles.items())}")


if __name__ == "__main__":
    main()
