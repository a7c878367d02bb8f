"""How fast an archive is built from large JPEG files, how much memory it takes, and what the short cut costs.

Prints the rows of docs/benchmarks.md. The photographs are painted ones with grain, of three megapixels and about half a
megabyte; ``--photographs FOLDER`` takes others.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from capriccio.data import build_dataset
from capriccio.data.building.crops import centre_window
from capriccio.data.building.decoding import decode_photograph
from capriccio.data.building.resampling import resize
from capriccio.data.landscapes.painter import paint
from capriccio.devices import most_resident_bytes

SIZE = (256, 256)
WHITE = (255, 255, 255)


def make_photographs(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for seed in range(count):
        pixels = paint([seed], (192, 256), seed=1)[0].transpose(1, 2, 0)
        large = np.asarray(Image.fromarray(pixels).resize((2048, 1536), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.integers(-6, 7, (768, 1024, 1), dtype=np.int16).repeat(2, 0).repeat(2, 1)
        Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)).save(folder / f"{seed:05d}.jpg", quality=90)


def make_small_pictures(folder: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    for seed in range(count):
        if seed % 1000 == 0:
            (folder / f"{seed // 1000:03d}").mkdir(parents=True)
        pixels = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        pixels.resize((40, 40), Image.Resampling.BILINEAR).save(folder / f"{seed // 1000:03d}" / f"{seed}.jpg")


def agreement_db(path: Path) -> float:
    """Return the peak signal-to-noise ratio between reduced-scale and full decoding."""
    data = path.read_bytes()
    made = []
    for needed in ((1.4 * SIZE[0], 1.4 * SIZE[1]), (1e9, 1e9)):
        image = decode_photograph(data, "RGB", WHITE, needed)
        box = centre_window(image.height, image.width, SIZE)
        made.append(np.asarray(resize(image, SIZE, box, resample="lanczos"), dtype=np.float64))
    return float(10 * np.log10(255**2 / np.square(made[0] - made[1]).mean()))


def processor_seconds() -> float:
    """Return the time that this process and its finished children computed."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def memory_mib() -> float:
    return (most_resident_bytes() or 0) / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="large photographs to build from")
    parser.add_argument("--photographs", type=Path, help="folder of large JPEG files instead of painted ones")
    parser.add_argument("--small", type=int, default=0, help="small pictures for the memory measurement; 0 = none")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.photographs or Path(scratch) / "photographs"
        if args.photographs is None:
            make_photographs(folder, args.count)
        files = sorted(folder.glob("*.jp*g"))
        print(f"{len(files)} photographs, {sum(f.stat().st_size for f in files) / len(files) / 1e6:.2f} MB each")
        started, processor = time.perf_counter(), processor_seconds()
        report = build_dataset(folder, Path(scratch) / "large.zip", size=SIZE)
        seconds = time.perf_counter() - started
        rate, cost = report.count / seconds, (processor_seconds() - processor) / report.count
        print(f"{report.count} pictures of {SIZE[0]}×{SIZE[1]} in {seconds:.2f} s: {rate:.0f} per second")
        print(f"processor time: {1000 * cost:.1f} ms per picture, the start of the processes included")
        ratios = [agreement_db(path) for path in files[:20]]
        print(f"reduced-scale against full decoding: {min(ratios):.1f} to {max(ratios):.1f} dB")
        if args.small:
            make_small_pictures(Path(scratch) / "small", args.small)
            marks: dict[int, float] = {}

            def mark(done: int, total: int) -> None:
                if done in (1000, total // 10, total // 2, total):
                    marks[done] = memory_mib()

            build_dataset(Path(scratch) / "small", Path(scratch) / "small.zip", size=(32, 32), progress=mark)
            print("memory: " + ", ".join(f"{mib:.0f} MiB after {done:,}" for done, mib in marks.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
