"""How long the arithmetic of a Fréchet distance takes: twice 50,000 samples of 2,048 features.

    OMP_NUM_THREADS=2 python scripts/metric_speed.py

What it prints stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import time

import torch

from capriccio.devices import most_resident_bytes
from capriccio.metrics.moments import MomentSums, frechet_distance

BLOCK = 64


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the arithmetic of a Fréchet distance.")
    parser.add_argument("--count", type=int, default=50_000, help="samples of each of two sets")
    parser.add_argument("--features", type=int, default=2048, help="features of a sample")
    asked = parser.parse_args()
    rng = torch.Generator().manual_seed(0)
    sets = [MomentSums(asked.features), MomentSums(asked.features)]
    seconds = 0.0
    for _ in range(0, asked.count, BLOCK):
        for scale, sums in enumerate(sets, start=1):
            features = (torch.randn(BLOCK, asked.features, generator=rng) * scale).relu()
            started = time.perf_counter()
            sums.add(features)
            seconds += time.perf_counter() - started
    started = time.perf_counter()
    first, second = (sums.moments() for sums in sets)
    distance = frechet_distance(first, second)
    print(
        f"mean and covariance of both sets {seconds:.1f} s, distance {time.perf_counter() - started:.1f} s "
        f"(value {distance:.4f}); memory {(most_resident_bytes() or 0) / 2**30:.2f} GiB"
    )


if __name__ == "__main__":
    main()
