"""Check and time every way the networks can be computed on a GPU, in one run; one table and one JSON file.

GPU minutes are scarce, so this measures as much as a time limit allows, most interesting first, and a variant that
fails costs its own line only:

    python scripts/gpu_variants.py --resolution 128 --limit 150 --out variants.json

A variant is a list of words: `eager`, `graphs` (work recorded as CUDA graphs), `compile`; the forms of the operations
`fir=`, `up=`, `epilogue=`, `rgb=`, `layout=`; `fp16`, `fp32`; `exact` (products of float32 matrices without TF32);
`nobench` (the library takes its first guess at an algorithm).

Compiling needs processors, not the GPU. So several of these scripts may be started at once with one folder as
`--together`: each is stopped while another measures. A process whose number is written into a file of that folder, a
training for example, is stopped meanwhile, too.

    echo $PID_OF_TRAINING > together/training
    python scripts/gpu_variants.py --resolution 128 --together together --out 128.json &
    python scripts/gpu_variants.py --resolution 256 --together together --out 256.json &

The four phases of a variant are compiled one after another; `--fill-cache PHASE` compiles only one, for a later run to
find it in the compiler's cache. `--config RUN/config.yaml` takes a run's own settings instead of the reference's, so
`--fill-cache` with it does the compiling of that training (scripts/gpu_session.py does all this).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from capriccio.bench.flops import generator_flops, training_flops
from capriccio.bench.peak import ConvolutionPeak, synchronize
from capriccio.bench.workload import bench_run
from capriccio.config import AugmentConfig, FormsConfig, ImageShape, RunConfig, from_dict
from capriccio.devices import choose_device, tuned_libraries
from capriccio.latent.random_labels import NoLabels
from capriccio.ops.fir_kernel import plain_resample, resample_by_kernel
from capriccio.presets import with_fp16_clamp
from capriccio.processes import Processes
from capriccio.training.draws import SeededDraws
from capriccio.training.iteration import Batch, Phases, Trainer, compiled_phases
from capriccio.training.recording import Recorder, run_directly
from capriccio.training.state import new_state
from capriccio.training.statistics import Statistics

VARIANTS = (
    "graphs compile fir=triton up=transposed epilogue=pointwise",
    "graphs compile fir=triton up=transposed epilogue=pointwise rgb=pointwise",
    "graphs fir=triton up=transposed epilogue=pointwise",
    "graphs compile fir=shifted up=transposed epilogue=pointwise",
    "graphs exact fir=triton up=transposed epilogue=pointwise",
    "graphs compile fir=triton up=phases epilogue=pointwise",
    "graphs fir=depthwise up=transposed epilogue=pointwise",
    "graphs fir=triton up=folded epilogue=pointwise",
    "graphs fir=triton up=transposed epilogue=matrix",
    "eager fir=triton up=transposed epilogue=pointwise",
    "graphs fp16 fir=triton up=transposed epilogue=pointwise",
    "graphs nobench fir=triton up=transposed epilogue=pointwise",
    "graphs fp32 fir=triton up=transposed epilogue=pointwise",
)
CYCLE = 16
"""Iterations after which both regularisers have had their turns."""


def run_config(resolution: int, batch: int, channel_base: int, channel_max: int, pipe: str) -> RunConfig:
    """Return the reference's own configuration: the preset `auto`, ADA's bgc at p = 0.5, in one round."""
    shape = ImageShape(channels=3, height=resolution, width=resolution)
    config = bench_run(shape, channel_base=channel_base, channel_max=channel_max, mapping_depth=2, batch=batch)
    return replace(config, augment=AugmentConfig(mode="fixed", pipe=pipe, p=0.5))


class Variant:
    """One way of computing, ready to run."""

    def __init__(self, words: str, config: RunConfig, device: torch.device, only: str | None = None) -> None:
        """``only``: the one phase that is compiled, where compiling was asked for; None = all."""
        chosen = words.split()
        forms = FormsConfig(**dict(word.split("=") for word in chosen if "=" in word))
        dtype = torch.float16 if "fp16" in chosen else None if "fp32" in chosen else torch.bfloat16
        config = with_fp16_clamp(config) if "fp16" in chosen else config
        recorded = "graphs" in chosen
        self.config = replace(config, forms=forms, compile="compile" in chosen, cuda_graphs="on" if recorded else "off")
        self.device = device
        self.is_guessing = "nobench" in chosen
        self._tuned_for = None if "exact" in chosen else dtype
        self.state = new_state(self.config, device)
        for network in (self.state.generator, self.state.discriminator, self.state.generator_ema):
            network.set_precision(dtype)
        self.phase_times: dict[str, list[float]] = {}
        self._marks: list[tuple[str, Mark]] = []
        phases = compiled_phases() if self.config.compile else Phases()
        if only is not None:
            phases = replace(Phases(), **{only: getattr(phases, only)})
        self.runner = Recorder() if recorded else run_directly
        self.recorded = recorded
        self.trainer = Trainer(self.config, Processes(), phases, Statistics(device), self._after_phase, self.runner)
        shape = config.generator.shape
        rng = torch.Generator().manual_seed(0)
        reals = torch.rand(config.batch, shape.channels, shape.height, shape.width, generator=rng) * 2 - 1
        self.batch = Batch(reals.to(device), None)
        self._is_trying = False

    def iterate(self) -> None:
        """Run one iteration."""
        draws = SeededDraws.of_run(self.config, self.state, NoLabels(), device=self.device)
        with tuned_libraries(self.device, self._tuned_for):
            torch.backends.cudnn.benchmark = self._is_trying
            self.trainer.run(self.state, self.batch, draws, round_size=self.config.batch)

    def compile(self) -> float:
        """Run every phase once, and what is to be compiled is; return seconds."""
        self._is_trying = False  # what is found while others use the GPU, too, would be chance
        return self._iterate_with_all_phases(1)

    def warm_up(self) -> float:
        """Run every phase until it is recorded and has found its algorithms; return seconds."""
        self._is_trying = not self.is_guessing
        return self._iterate_with_all_phases(4)

    def _iterate_with_all_phases(self, times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            self.state.iteration = 0
            self.iterate()
        synchronize(self.device)
        return time.perf_counter() - start

    def train_rate(self, cycles: int) -> float:
        """Return images per second over whole cycles, regularisers at their turns: the median of the cycles."""
        rates = []
        for _ in range(cycles):
            self.state.iteration = 0
            synchronize(self.device)
            start = time.perf_counter()
            for _ in range(CYCLE):
                self.iterate()
            synchronize(self.device)
            rates.append(CYCLE * self.config.batch / (time.perf_counter() - start))
        return statistics.median(rates)

    def host_seconds(self) -> float:
        """Return how long the processor takes to ask for an iteration, with nothing to wait for."""
        self.state.iteration = 1
        synchronize(self.device)
        start = time.perf_counter()
        self.iterate()
        return time.perf_counter() - start

    def phase_milliseconds(self) -> dict[str, float]:
        """Return how long each phase takes, with the step of the phase before it."""
        self.phase_times = {}
        for _ in range(3):
            self.state.iteration = 0
            synchronize(self.device)
            self._marks = [("", Mark(self.device))]
            self.iterate()
            self._marks.append(("rest", Mark(self.device)))
            synchronize(self.device)
            for (_, start), (name, end) in pairwise(self._marks):
                self.phase_times.setdefault(name, []).append(start.milliseconds_until(end))
        return {name: statistics.median(times) for name, times in self.phase_times.items()}

    def generation(self, batch: int, seconds: float = 0.4) -> tuple[float, float]:
        """Return images per second at ``batch``, and milliseconds per call at batch 1."""
        network = self.state.generator_ema
        found = []
        for count in (batch, 1):
            runner = Recorder() if self.recorded else run_directly

            @torch.no_grad()
            def call(z: Tensor, runner: Any = runner) -> None:
                runner("generate", lambda z: network(z), (z,), [])

            z = torch.randn(count, self.config.generator.z_dim, device=self.device)
            for _ in range(4):
                call(z)
            synchronize(self.device)
            times = []
            begin = time.perf_counter()
            while time.perf_counter() - begin < seconds or len(times) < 3:
                start = time.perf_counter()
                call(z)
                synchronize(self.device)
                times.append(time.perf_counter() - start)
            found.append(statistics.median(times))
        return batch / found[0], 1000 * found[1]

    def _after_phase(self, name: str, parameters: Sequence[Tensor]) -> None:
        if self._marks:
            self._marks.append((name, Mark(self.device)))


class Mark:
    """A moment in the order of the device's work."""

    def __init__(self, device: torch.device) -> None:
        self._event = torch.cuda.Event(enable_timing=True) if device.type == "cuda" else None
        self._time = time.perf_counter()
        if self._event is not None:
            self._event.record()

    def milliseconds_until(self, later: Mark) -> float:
        """Return the time between two moments that have passed."""
        if self._event is None or later._event is None:
            return 1000 * (later._time - self._time)
        elapsed: float = self._event.elapsed_time(later._event)
        return elapsed


# ---- checks


def check_kernel(device: torch.device) -> dict[str, float]:
    """Return the relative error of the Triton kernel, its first and its second derivative, against the plain form."""
    worst: dict[str, float] = {}
    cases = [((1, 1), (1, 1), (2, 1, 2, 1)), ((2, 2), (1, 1), (2, 1, 2, 1)), ((1, 1), (2, 2), (1, 1, 1, 1))]
    cases.append(((3, 2), (1, 3), (3, -1, 1, 2)))
    for dtype, name in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
        for up, down, padding in cases:
            for channels in (3, 64, 96):
                x = torch.randn(2, channels, 33, 20, device=device, dtype=dtype)
                x = x.contiguous(memory_format=torch.channels_last).requires_grad_(True)
                kernel = torch.randn(4, 4, device=device) / 4

                def numbers(function: Callable[..., Tensor], x: Tensor = x, kernel: Tensor = kernel, up: Any = up,
                            down: Any = down, padding: Any = padding) -> list[Tensor]:  # fmt: skip
                    y = function(x, kernel, up, down, padding)
                    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
                    (second,) = torch.autograd.grad(first.float().square().sum(), x)
                    return [y, first, second]

                for order, (ours, theirs) in enumerate(
                    zip(numbers(resample_by_kernel), numbers(plain_resample), strict=True)
                ):
                    error = float((ours.float() - theirs.float()).detach().norm() / theirs.detach().float().norm())
                    key = f"{name} derivative {order}"
                    worst[key] = max(worst.get(key, 0.0), error)
    return worst


def time_kernel(device: torch.device, resolution: int, batch: int) -> dict[str, float]:
    """Return for each use of the Triton kernel the bytes of its maps per second, as a share of those of plain copying.

    Uses: the low-pass filter of an enlarged or unreduced map, the reduction beside it in D, and that one's derivative.
    """
    uses = {
        "filter": (resolution + 1, (1, 1), (1, 1), (1, 1, 1, 1)),
        "down": (resolution, (1, 1), (2, 2), (1, 1, 1, 1)),
        "up": (resolution // 2, (2, 2), (1, 1), (2, 1, 2, 1)),
    }
    kernel = torch.ones(4, 4, device=device) / 16
    shares = {}
    for name, (size, up, down, padding) in uses.items():
        x = torch.randn(batch, 128, size, size, device=device, dtype=torch.bfloat16)
        x = x.contiguous(memory_format=torch.channels_last)
        y = resample_by_kernel(x, kernel, up, down, padding)
        seconds = median_seconds(device, lambda x=x, up=up, down=down, padding=padding: resample_by_kernel(
            x, kernel, up, down, padding
        ))  # fmt: skip
        copying = median_seconds(device, x.clone) / (2 * x.numel())
        shares[name] = copying * (x.numel() + y.numel()) / seconds
    return shares


def median_seconds(device: torch.device, work: Callable[[], Any], times: int = 20) -> float:
    """Return how long the device takes for ``work``."""
    work()
    marks = [Mark(device)]
    for _ in range(times):
        work()
        marks.append(Mark(device))
    synchronize(device)
    spans = [start.milliseconds_until(end) for start, end in pairwise(marks)]
    return statistics.median(spans) / 1000


def gradients(variant: Variant) -> dict[str, list[Tensor]]:
    """Return the gradients of every phase in the first iteration of a variant."""
    found: dict[str, list[Tensor]] = {}
    kept = variant.trainer
    variant.trainer = replace(
        kept,
        after_phase=lambda name, parameters: found.update(
            {name: [p.grad.detach().float().clone() for p in parameters if p.grad is not None]}
        ),
    )
    variant.state.iteration = 0
    variant.iterate()
    variant.trainer = kept
    return found


def cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Return the cosine of the angle between two gradients."""
    dot = sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))
    squares = [sum(float(x.square().sum()) for x in values) for values in (a, b)]
    return float(dot / (squares[0] * squares[1]) ** 0.5)


def check_phases(config: RunConfig, device: torch.device, words: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for each variant the cosine of every phase's gradient with that of plain float32."""
    plain = gradients(Variant("eager fp32", config, device))
    told = {}
    for word in words:
        found = gradients(Variant(word, config, device))
        told[word] = {name: cosine(found[name], plain[name]) for name in plain}
    return told


def check_recording(config: RunConfig, device: torch.device) -> dict[str, float]:
    """Return by phase how far gradients of recorded work are from direct ones, and direct ones from each other.

    Learning rates are 0 and the same pictures are drawn again and again, so every iteration has the same gradients, up
    to the order in which a GPU adds.
    """
    variant = Variant("graphs fp32 fir=triton", config, device)
    for optimizer in (variant.state.generator_optimizer, variant.state.discriminator_optimizer):
        optimizer.param_groups[0]["lr"] = 0.0
    found = []
    for _ in range(4):
        variant.state.nimg = 0
        variant.state.pl_mean.zero_()
        found.append(gradients(variant))

    def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
        apart = sum(float((x - y).square().sum()) for x, y in zip(a, b, strict=True))
        return float((apart / sum(float(x.square().sum()) for x in a)) ** 0.5)

    told = {f"{name} recorded": distance(found[0][name], found[3][name]) for name in found[0]}
    return told | {f"{name} direct": distance(found[0][name], found[1][name]) for name in found[0]}


def profile(variant: Variant) -> str:
    """Return a table of the kernels of one iteration in which all phases run, most expensive first."""
    variant.state.iteration = 0
    synchronize(variant.device)
    kinds = torch.profiler.ProfilerActivity
    activity = kinds.CUDA if variant.device.type == "cuda" else kinds.CPU
    with torch.profiler.profile(activities=[activity], acc_events=True) as recorded:
        variant.iterate()
        synchronize(variant.device)
    events = recorded.key_averages()
    launches = sum(event.count for event in events)
    by_time = "self_device_time_total" if activity == kinds.CUDA else "self_cpu_time_total"
    table: str = events.table(sort_by=by_time, row_limit=60, max_name_column_width=110)
    return f"{launches} kernels\n{table}"


# ---- the run


@contextmanager
def survived(report: dict[str, Any], what: str) -> Iterator[None]:
    """Note an error under ``what`` and go on."""
    try:
        yield
    except Exception as error:
        report.setdefault("failed", {})[what] = f"{type(error).__name__}: {error}"[:600]
        traceback.print_exc()


class Company:
    """The scripts and trainings on this GPU, of which one at a time measures while the others are stopped."""

    def __init__(self, folder: Path | None) -> None:
        """``folder``: where each writes its process number into a file of its own; None = nobody else is here."""
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"script-{os.getpid()}").write_text(str(os.getpid()))

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Wait for one's turn, and let all others sleep meanwhile."""
        if self._folder is None:
            yield
            return
        with open(self._folder / "turn.lock", "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            others = [int(path.read_text()) for path in self._folder.iterdir() if path.suffix != ".lock"]
            others = [number for number in others if number != os.getpid()]
            try:
                for number in others:
                    with suppress(ProcessLookupError):
                        os.kill(number, signal.SIGSTOP)
                time.sleep(0.5)  # what they have asked of the GPU is still being done
                yield
            finally:
                for number in others:
                    with suppress(ProcessLookupError):
                        os.kill(number, signal.SIGCONT)


def measure(
    words: str,
    config: RunConfig,
    device: torch.device,
    company: Company,
    *,
    generation: bool,
    cycles: int,
    profiled: bool = False,
) -> dict[str, Any]:
    """Return everything about one variant."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    variant = Variant(words, config, device)
    row: dict[str, Any] = {"variant": words, "compile_seconds": variant.compile()}
    with company.asleep():
        row["warm_up_seconds"] = variant.warm_up()
        row["train_images_per_second"] = variant.train_rate(cycles)
        row["host_milliseconds"] = 1000 * variant.host_seconds()
        row["phase_milliseconds"] = variant.phase_milliseconds()
        row["memory_gib"] = torch.cuda.max_memory_reserved(device) / 2**30 if device.type == "cuda" else 0.0
        if generation:
            row["generate_images_per_second"], row["latency_milliseconds"] = variant.generation(config.batch)
        if profiled:
            row["kernels"] = profile(variant)
            print(row["kernels"], flush=True)
    return row


def described(row: dict[str, Any]) -> str:
    """Return what was measured in a line."""
    phases = " ".join(f"{name} {value:.1f}" for name, value in row["phase_milliseconds"].items())
    return (
        f"{row['train_images_per_second']:8.0f} img/s  {row['memory_gib']:5.1f} GiB  "
        f"compile {row['compile_seconds']:5.1f} s  warm-up {row['warm_up_seconds']:5.1f} s  "
        f"host {row['host_milliseconds']:5.1f} ms  [{phases}]  "
        f"gen {row.get('generate_images_per_second', 0):.0f} img/s {row.get('latency_milliseconds', 0):.1f} ms  "
        f"{row['variant']}"
    )


def fill_cache(words: Sequence[str], phase: str, config: RunConfig, device: torch.device) -> None:
    """Compile one phase of every variant and say how long it took."""
    for chosen in words:
        seconds = Variant(chosen, config, device, only=phase).compile()
        print(f"compiled {phase} in {seconds:.0f} s: {chosen}", flush=True)


def main() -> None:
    """Run what fits into the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channel-base", type=int, default=16384)
    parser.add_argument("--channel-max", type=int, default=512)
    parser.add_argument("--pipe", default="bgc")
    parser.add_argument("--config", type=Path, help="config.yaml of a run, whose settings are taken instead.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--limit", type=float, default=150.0, help="Seconds; no variant is begun later.")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), help="Lists of words, most interesting first.")
    parser.add_argument("--checks", choices=["none", "recording", "all"], default="none", help="First.")
    parser.add_argument("--no-generation", action="store_true")
    parser.add_argument("--cycles", type=int, default=2, help="Cycles of 16 iterations that are timed.")
    parser.add_argument("--profile", action="store_true", help="List the kernels of every variant.")
    parser.add_argument("--together", type=Path, help="Folder of process numbers: these sleep while this measures.")
    parser.add_argument("--fill-cache", choices=[f.name for f in fields(Phases)], help="Compile this and do no more.")
    parser.add_argument("--out", type=Path, default=Path("variants.json"))
    asked = parser.parse_args()
    begun = time.perf_counter()
    device = choose_device(asked.device)
    config = run_config(asked.resolution, asked.batch, asked.channel_base, asked.channel_max, asked.pipe)
    if asked.config is not None:
        config = from_dict(RunConfig, yaml.safe_load(asked.config.read_text()))
    company = Company(asked.together)
    if asked.fill_cache:
        fill_cache(asked.variants, asked.fill_cache, config, device)
        return
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "configuration": {k: str(v) for k, v in vars(asked).items()},
        "training_gflop_per_image": training_flops(config) / 1e9,
        "generating_gflop_per_image": generator_flops(config.generator) / 1e9,
        "rows": [],
    }

    def save() -> None:
        asked.out.write_text(json.dumps(report, indent=1))

    with survived(report, "peak"), company.asleep():
        peak = ConvolutionPeak(device, torch.bfloat16, batch=512 if device.type == "cuda" else 4)
        report["convolution_peak_tflops"] = max(peak.measure() for _ in range(3)) / 1e12
        print(f"convolution peak {report['convolution_peak_tflops']:.0f} TFLOP/s", flush=True)
    small = run_config(32, 8, 2048, 64, asked.pipe)
    if asked.checks == "all":
        with survived(report, "kernel"):
            report["kernel_errors"] = check_kernel(device)
            print("kernel", report["kernel_errors"], flush=True)
            with company.asleep():
                report["kernel_share_of_copying"] = time_kernel(device, config.generator.shape.height, config.batch)
            print("kernel's share of the rate of copying", report["kernel_share_of_copying"], flush=True)
        with survived(report, "precision"):
            words = [
                "eager", "eager fir=triton up=phases epilogue=pointwise", "eager fp16", "eager fp32 fir=triton",
                "compile fp32 fir=triton epilogue=pointwise", "compile fir=triton epilogue=pointwise",
            ]  # fmt: skip
            report["gradient_cosines"] = check_phases(run_config(64, 16, 4096, 256, asked.pipe), device, words)
            print("cosines", json.dumps(report["gradient_cosines"], indent=1), flush=True)
    if asked.checks in ("all", "recording"):
        with survived(report, "recording"):
            report["recording_distances"] = check_recording(small, device)
            print("recording", report["recording_distances"], flush=True)
    print(f"checks done after {time.perf_counter() - begun:.0f} s", flush=True)
    save()
    for words in asked.variants:
        if time.perf_counter() - begun > asked.limit:
            report.setdefault("left_out", []).append(words)
            continue
        with survived(report, words):
            row = measure(
                words,
                config,
                device,
                company,
                generation=not asked.no_generation,
                cycles=asked.cycles,
                profiled=asked.profile,
            )
            report["rows"].append(row)
            print(f"{described(row)}  @{time.perf_counter() - begun:.0f} s", flush=True)
        save()
    save()


if __name__ == "__main__":
    main()
