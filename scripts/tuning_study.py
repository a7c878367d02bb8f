"""Pivotal tuning on photographs a network never saw: how much nearer, how much else moves, how large the file is.

    python scripts/tuning_study.py landscapes-128.zip --weights squeeze=… --weights lpips-squeeze=… --out study.json

Photographs are the model's held-out ones. Distances are medians; the referee takes no part in tuning. "moved near" and
"moved far" are the referee's distances between what the network and the tuned one paint, 30 % of the way from each
pivot to sixteen seeds, and at these seeds: the price of tuning, and what locality is for. Projections are made once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch

import capriccio
from capriccio.detection.photographs import read_photographs
from capriccio.inversion.pivotal import Tuned, TuningSettings, tune
from capriccio.inversion.project import project
from capriccio.inversion.projection import Projection
from capriccio.inversion.targets import to_images
from capriccio.loading.model import Model
from capriccio.perception.catalogue import Perception
from capriccio.perception.protocols import PerceptualDistance, distances
from capriccio.perception.weights import parse_sources

SEEDS = range(16)
NEAR = 0.3


def rows(text: str) -> list[tuple[str, float]]:
    """Read ``each:0.3,together:0.3``: who shares a tuning, and its locality."""
    return [(how, float(locality)) for how, locality in (part.split(":") for part in text.split(","))]


@torch.no_grad()
def moved(model: Model, tuned: Model, ws: torch.Tensor, referee: PerceptualDistance) -> tuple[float, float]:
    """Return how far pictures near the pivots ``ws``, and those of seeds, are from what they were."""
    seeds = model.ws(seeds=list(SEEDS))
    near = torch.cat([w + NEAR * (seeds - w) for w in ws])
    return tuple(float(distances(referee, model.images(w), tuned.images(w)).mean()) for w in (near, seeds))


def measure(
    model: Model, images: torch.Tensor, found: Projection, together: bool, locality: float, referee: PerceptualDistance
) -> dict[str, object]:
    """Tune and measure, each photograph apart or all together."""
    settings = TuningSettings(locality=locality)
    groups = [list(range(len(images)))] if together else [[i] for i in range(len(images))]
    parts: list[Tuned] = []
    moves = []
    for group in groups:
        one = dataclasses.replace(found, ws=found.ws[group], noise={}, images=found.images[group])
        parts.append(tune(model, images[group], one, settings))
        moves.append(moved(model, parts[-1].model, one.ws, referee))
    after = torch.cat([part.images for part in parts])
    near, far = torch.tensor(moves).mean(dim=0).tolist()
    return {
        "row": f"{'together' if together else 'each'}, locality {locality:g}",
        "distance": [float(v) for v in torch.cat([part.distances for part in parts])],
        "distance_before": [float(v) for v in torch.cat([part.distances_before for part in parts])],
        "referee": distances(referee, after, images).tolist(),
        "referee_before": distances(referee, found.images, images).tolist(),
        "moved_near": near,
        "moved_far": far,
        "rank": [part.rank for part in parts],
        "mib": sum(part.tuning.num_bytes for part in parts) / 2**20 / len(parts),
        "seconds": sum(part.seconds for part in parts) / len(images),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="the set the model was trained on, with its held-out pictures")
    parser.add_argument("--model", default="landscapes-64")
    parser.add_argument("--weights", action="append", default=[], help="of the referee: squeeze and lpips-squeeze")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--rows", type=rows, default=rows("each:0.3,each:0,each:1,together:0.3"))
    parser.add_argument("--out", type=Path, default=Path("tuning_study.json"))
    arguments = parser.parse_args()
    model = capriccio.load(arguments.model)
    held_out = set(model.facts.data["heldout"])
    photographs = read_photographs(arguments.photographs, model.shape, held_out, len(held_out))
    chosen = photographs[:: max(1, len(photographs) // arguments.count)][: arguments.count]
    images = to_images([pixels for _, pixels in chosen]).to(model.device)
    perception = Perception(channels=model.channels, weights=parse_sources(arguments.weights), device=model.device)
    referee = perception.distance("squeeze")
    found = project(model, images)
    results = []
    print("| tuned | distance | referee | moved near | moved far | MiB | s a picture |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for how, locality in arguments.rows:
        result = measure(model, images, found, how == "together", locality, referee)
        results.append(result)
        arguments.out.write_text(json.dumps({"names": [name for name, _ in chosen], "rows": results}, indent=1))
        median = {key: float(torch.tensor(value).median()) for key, value in result.items() if key in _MEDIANS}
        if len(results) == 1:
            print(f"| not | {median['distance_before']:.3f} | {median['referee_before']:.3f} | 0 | 0 | | |")
        print(f"| {result['row']} | {median['distance']:.3f} | {median['referee']:.3f} | {result['moved_near']:.3f} | "
              f"{result['moved_far']:.3f} | {result['mib']:.2f} | {result['seconds']:.0f} |", flush=True)  # fmt: skip


_MEDIANS = ("distance", "distance_before", "referee", "referee_before")

if __name__ == "__main__":
    main()
