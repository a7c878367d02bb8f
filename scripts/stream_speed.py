"""Measure streaming from tar shards: from files, from a web server on this machine, and from one that misbehaves.

    PYTHONPATH=. python scripts/stream_speed.py --train

Paints landscapes into JPEG shards in a temporary folder, reads a stream of them at 64×64 in the three ways, and
compares the pictures: a bad server must cost time and nothing else. With ``--train`` a `laptop` run follows on each,
and the share of the time in which it waited for pictures is told.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tests.data.shard_server import Troubles, serving

from capriccio.config import DataConfig, ImageShape
from capriccio.data import lanes
from capriccio.data.landscapes.painter import paint
from capriccio.data.stream import open_streamed
from capriccio.doctor.record import Span, read_run
from capriccio.presets import preset

SHAPE = ImageShape(height=64, width=64)
PER_SHARD, PAINTED = 256, (192, 256)
DROPS, STALL_SECONDS = 2, 0.5
"""Each shard's connection is cut so often, and stalls so often for so long, over the whole measurement."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=4096, help="read in each of the three ways")
    parser.add_argument("--shards", type=int, default=16, help=f"of {PER_SHARD} pictures each")
    parser.add_argument("--kimg", type=float, default=1.0, help="length of each run")
    parser.add_argument("--train", action="store_true", help="train, too")
    asked = parser.parse_args()
    lanes.WAIT_SECONDS = 0.25  # a server on this machine needs no rest
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_shards(folder, asked.shards)
        names = f"set-{{000..{asked.shards - 1:03d}}}.tar"
        print(f"{asked.shards} shards of {PER_SHARD} JPEGs {PAINTED[0]}×{PAINTED[1]}, {size / 2**20:.1f} MiB in all")
        expected = None
        for about, troubles in (("files", None), ("server", Troubles()), ("bad server", bad_server(folder))):
            with serving(folder, troubles or Troubles()) as address:
                where = str(folder) if troubles is None else address
                rate, lines, pictures = read(f"{where}/{names}", asked.pictures)
                same = expected is None or np.array_equal(pictures, expected)
                expected = pictures if expected is None else expected
                print(f"{about:<12}{rate:8.0f} pictures/s, {lines} lines in the log, the same pictures: {same}")
        for about, troubles in (("files", None), ("server", Troubles()), ("bad server", bad_server(folder))):
            if asked.train:
                with serving(folder, troubles or Troubles()) as address:
                    where = str(folder) if troubles is None else address
                    tell_training(about, f"{where}/{names}", folder / about, asked.kimg)


def write_shards(folder: Path, count: int) -> int:
    """Paint the shards; return their size in bytes."""
    for shard in range(count):
        first = shard * PER_SHARD
        with tarfile.open(folder / f"set-{shard:03d}.tar", "w") as archive:
            for i, pixels in enumerate(paint(range(first, first + PER_SHARD), PAINTED)):
                data = io.BytesIO()
                Image.fromarray(pixels.transpose(1, 2, 0)).save(data, "jpeg", quality=92)
                member = tarfile.TarInfo(f"{first + i:06d}.jpg")
                member.size = len(data.getvalue())
                archive.addfile(member, io.BytesIO(data.getvalue()))
    return sum(path.stat().st_size for path in folder.glob("*.tar"))


def bad_server(folder: Path) -> Troubles:
    """Return what goes wrong with every shard: connections cut and stalled after random numbers of bytes."""
    rng = np.random.default_rng(0)
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.tar")}
    return Troubles(
        drop_after={name: rng.integers(0, size, DROPS).tolist() for name, size in sizes.items()},
        stall_after={name: rng.integers(0, size, DROPS).tolist() for name, size in sizes.items()},
        stall_seconds=STALL_SECONDS,
    )


def read(path: str, count: int) -> tuple[float, int, np.ndarray]:
    """Return pictures per second, how many lines the log got, and the pictures."""
    told: list[str] = []
    stream = open_streamed(path, SHAPE, holdout=0).train.stream(seed=0, rank=0, world_size=1, say=told.append)
    started = time.perf_counter()
    pictures = np.concatenate([stream.next(16)[0] for _ in range(count // 16)])
    return count / (time.perf_counter() - started), len(told), pictures


def tell_training(about: str, path: str, run: Path, kimg: float) -> None:
    """Train and say for how much of the time the run waited for pictures."""
    from capriccio.training.train import train

    config = preset("laptop", SHAPE)
    config = replace(config, data=DataConfig(path=path, cache="stream", holdout=0), total_kimg=kimg)
    config = replace(config, saving=replace(config.saving, kimg_per_tick=kimg / 4))
    train(config, run, echo=lambda line: None)
    ticks = read_run(run).ticks
    waited = sum((tick.mean("Timing/data") or 0.0) * tick.count("Timing/data") / 1000 for tick in ticks)
    seconds = Span(ticks).total("Timing/sec_per_tick")
    rate = 1000 * kimg / seconds
    print(f"{about:<12}{rate:8.1f} images/s trained, {waited / seconds:.1%} of {seconds:.0f} s waiting")


if __name__ == "__main__":
    main()
