"""``capriccio bench [--json]``: the speed of this machine, and what share of its convolution peak that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from capriccio.bench.reference import REFERENCE
from capriccio.cli.parser import DEVICE_HELP, CommandParser, existing, parse_size
from capriccio.cli.progress import shown_progress
from capriccio.config import PipeName
from capriccio.errors import UsageError

_DEFAULTS = {"resolution": "64", **REFERENCE}


def run(argv: Sequence[str]) -> int:
    """Measure and tell."""
    asked = _parser().read(argv)
    for flag in ("batch", "iterations", "mapping_depth"):
        if asked[flag] < 1:
            raise UsageError(f"--{flag.replace('_', '-')}: must be at least 1, got {asked[flag]}.")
    if asked.data is not None:
        existing(asked.data, "--data")
    report = _measure(asked)
    if asked.json:
        print(json.dumps(report))
    else:
        _show(report)
    return 0


def _measure(asked: Any) -> dict[str, Any]:
    import torch

    from capriccio.bench.benchmark import benchmark, data_share
    from capriccio.bench.flops import judged_flops
    from capriccio.bench.startup import startup_seconds
    from capriccio.bench.workload import bench_run
    from capriccio.config import AugmentConfig, ImageShape
    from capriccio.devices import choose_device, choose_precision
    from capriccio.presets import with_fp16_clamp

    def configured(values: Mapping[str, Any]) -> Any:
        height, width = parse_size(values["resolution"], "--resolution")
        widths = {name: values[name] for name in ("channel_base", "channel_max", "mapping_depth", "batch")}
        return bench_run(ImageShape(channels=3, height=height, width=width), **widths)

    config, reference = configured(asked), configured(_DEFAULTS)
    device = choose_device(asked.device)
    chosen = choose_precision(asked.precision, device)
    config = replace(config, compile=asked.compile)
    if chosen.name == "fp16":
        config = with_fp16_clamp(config)
    training, generating = judged_flops(config, reference)
    augment = None if asked.augment is None else AugmentConfig(mode="fixed", pipe=asked.augment, p=asked.augment_p)
    with shown_progress("measuring") as progress:
        found = benchmark(
            config,
            chosen,
            device,
            iterations=asked.iterations,
            training_flops=training,
            generating_flops=generating,
            augment=augment,
            progress=progress,
        )
    fastest = found.speeds[chosen.name]
    report: dict[str, Any] = asdict(fastest)
    report |= {
        "training_gflop_per_image": training / 1e9,
        "generating_gflop_per_image": generating / 1e9,
        "bound": asdict(found.bound),
        "fp32": asdict(found.speeds["fp32"]),
        "startup_seconds": startup_seconds(),
        "configuration": {name: asked[name] for name in (*_DEFAULTS, "iterations")},
        "machine": {
            "device": str(device),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "precision": chosen.name,
            "precision_reason": chosen.reason,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
    }
    if augment is not None:
        report["augmentation"] = {"pipe": augment.pipe, "p": augment.p, "relative_cost": found.augmentation_cost}
    if asked.data is not None:
        report["data_share_of_iteration"] = data_share(
            Path(asked.data), config, device, config.batch / fastest.train_images_per_second
        )
    return report


def _show(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    machine, precision = report["machine"], report["machine"]["precision"]
    asked = report["configuration"]
    images = f"batch {asked['batch']}, {asked['resolution']} px"
    table = Table(title=f"{machine['device']}, {machine['threads']} threads, {images}")
    columns = {precision: report} | ({} if precision == "fp32" else {"fp32": report["fp32"]})
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")

    def row(about: str, cells: Sequence[str]) -> None:
        table.add_row(about, *cells)

    row("convolution peak, GFLOP/s", [f"{c['convolution_peak_gflops']:.0f}" for c in columns.values()])
    row("training, images/s", [f"{c['train_images_per_second']:.1f}" for c in columns.values()])
    row("  share of the peak", [f"{c['train_share_of_peak']:.0%}" for c in columns.values()])
    for phase in report["phase_milliseconds"]:
        row(f"  {phase}, images/s", [f"{c['phase_images_per_second'][phase]:.1f}" for c in columns.values()])
    row("  optimiser", [f"{c['optimizer_milliseconds']:.1f} ms" for c in columns.values()])
    row("  average (EMA)", [f"{c['ema_milliseconds']:.1f} ms" for c in columns.values()])
    row("generation, images/s", [f"{c['generate_images_per_second']:.0f}" for c in columns.values()])
    row("  share of the peak", [f"{c['generate_share_of_peak']:.0%}" for c in columns.values()])
    row("memory", [f"{c['memory_mib']:.0f} MiB" for c in columns.values()])
    console = Console()
    console.print(table)
    bound = report["bound"]
    console.print(
        f"With everything but the 3×3 convolutions free ({precision}): {bound['train_images_per_second']:.1f} images/s "
        f"trained, {bound['generate_images_per_second']:.0f} generated."
    )
    console.print(
        f"Work: {report['training_gflop_per_image']:.1f} GFLOP per image trained, "
        f"{report['generating_gflop_per_image']:.2f} generated. Start: "
        + ", ".join(f"{name} {value:.2f} s" for name, value in report["startup_seconds"].items())
        + "."
    )
    if "augmentation" in report:
        augmentation = report["augmentation"]
        console.print(
            f"Augmented by '{augmentation['pipe']}' at p = {augmentation['p']:g}, an iteration takes "
            f"{augmentation['relative_cost']:.2f} × as long."
        )
    if "data_share_of_iteration" in report:
        console.print(f"Data: {report['data_share_of_iteration']:.1%} of an iteration.")


def _parser() -> CommandParser:
    parser = CommandParser(
        "bench",
        "Measure this machine: images per second of training and generation, and the share of the peak of its "
        "convolutions that they reach.",
        "[--json] [--resolution S] [--batch N] [--iterations N]",
    )
    flag = parser.add_argument
    flag("--resolution", type=str, default=_DEFAULTS["resolution"], help="Size of the images: S, or HxW.")
    flag("--channel-base", type=int, default=_DEFAULTS["channel_base"], help="Width of the networks.")
    flag("--channel-max", type=int, default=_DEFAULTS["channel_max"], help="Most channels of a layer.")
    flag("--mapping-depth", type=int, default=_DEFAULTS["mapping_depth"], help="Layers of the mapping network.")
    flag("--batch", type=int, default=_DEFAULTS["batch"], help="Images per iteration.")
    flag("--precision", type=str, default="auto", help="auto, fp32, bf16 or fp16; fp32 is always measured beside it.")
    flag("--iterations", type=int, default=12, help="Measured iterations; the figures are medians.")
    flag("--compile", action="store_true", help="Compile the phases, as 'train --compile' does.")
    flag("--device", type=str, default="auto", help=DEVICE_HELP)
    flag("--augment", type=PipeName, default=None, help="Augmentation pipe whose cost is measured, such as bgc.")
    flag("--augment-p", type=float, default=0.5, help="Its p: probability of each transformation.")
    flag("--data", type=str | None, default=None, help="Archive or folder whose share of the time is measured.")
    flag("--json", action="store_true", help="Print the figures as one JSON document.")
    return parser
