"""A generator as one graph that other programs run: traced once, written, read back, and compared with PyTorch.

The graph takes ``z`` [N, z_dim], ``psi`` (a scalar), for conditional networks ``c`` [N, c_dim] and, where asked for,
one noise map per layer; it gives ``images`` [N, C, H, W], −1…1. N is free. An export is what came out of the file that
was written, at several batch sizes and truncations, not what went into it: exporters have been seen to fix the size of
the example without a complaint.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from capriccio import __version__
from capriccio.durable import check_writable, replacing
from capriccio.errors import ConfigError, JobError, UsageError
from capriccio.networks.generator import Generator
from capriccio.ops.truncation import cutoff_problem
from capriccio.snapshots.snapshot import Snapshot, model_hash

ExportNoise = Literal["const", "none", "input"]
"""The stored maps inside the file, no noise, or maps as inputs of the graph."""

CHECKED = ((1, 1.0), (3, 0.5), (8, 0.7))
"""Batch sizes and truncations at which an export is compared; none is that of the example it is traced with."""

TOLERANCE = 1e-3
"""Largest difference accepted between a picture of the export and PyTorch's; a grey level is 7.8e-3."""

METADATA_KEY = "capriccio"
"""Name under which an exported file carries its facts, in JSON."""

_EXAMPLE_BATCH = 2

Runner = Callable[[Mapping[str, Tensor]], Tensor]
"""Images of inputs by name."""


class PortableGenerator(nn.Module):
    """What is exported: a generator in float32 with its noise chosen, its pictures clamped to −1…1."""

    def __init__(self, generator: Generator, *, noise: ExportNoise = "const", cutoff: int | None = None) -> None:
        """Args: the network; where noise comes from; coarse rows that truncation moves, None = all.

        Raises: ConfigError if the network has fewer rows than ``cutoff``, or no noise that could be an input.
        """
        super().__init__()
        if problem := cutoff_problem(cutoff, generator.num_ws):
            raise ConfigError(f"--{problem}")
        if noise == "input" and not generator.synthesis.noise_shapes():
            raise ConfigError("--noise input: this network has no noise; leave it out.")
        generator.set_precision(None)
        self.generator = generator.eval()
        self.noise = noise
        self.cutoff = cutoff

    def forward(self, z: Tensor, psi: Tensor, c: Tensor | None = None, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Return images [N, C, H, W], −1…1; ``noise`` is one map [N, 1, H, W] per layer where it is an input."""
        chosen = noise if self.noise == "input" else self.noise
        assert chosen is not None
        images: Tensor = self.generator(z, c, psi=psi, cutoff=self.cutoff, noise=chosen)
        return images.clamp(-1, 1)

    def input_shapes(self) -> dict[str, list[int | str]]:
        """Return the shapes of the inputs by name, in order; the free size is called ``batch``."""
        config = self.generator.config
        shapes: dict[str, list[int | str]] = {"z": ["batch", config.z_dim], "psi": []}
        if config.c_dim:
            shapes["c"] = ["batch", config.c_dim]
        if self.noise == "input":
            maps = self.generator.synthesis.noise_shapes()
            shapes |= {f"noise{i}": ["batch", 1, height, width] for i, (height, width) in enumerate(maps)}
        return shapes

    def draw_inputs(self, count: int, psi: float, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw inputs of a batch of ``count``: Gaussian, and labels in turn."""
        drawn = {}
        for name, shape in self.input_shapes().items():
            sizes = [count if size == "batch" else int(size) for size in shape]
            drawn[name] = torch.randn(sizes, generator=rng)
        drawn["psi"] = torch.tensor(psi)
        if "c" in drawn:
            classes = torch.arange(count) % drawn["c"].shape[1]
            drawn["c"] = torch.eye(drawn["c"].shape[1])[classes]
        return drawn

    def call_with(self, program: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Call ``program``, this module or an export of it, with inputs by name."""
        args, keywords = self.arguments(inputs)
        images: Tensor = program(*args, **keywords)
        return images

    @staticmethod
    def arguments(inputs: Mapping[str, Tensor]) -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
        """Return inputs by name as arguments of :meth:`forward`."""
        keywords: dict[str, Any] = {"c": inputs["c"]} if "c" in inputs else {}
        if noise := tuple(value for name, value in inputs.items() if name.startswith("noise")):
            keywords["noise"] = noise
        return (inputs["z"], inputs["psi"]), keywords


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written, and how far its pictures are from PyTorch's."""

    files: tuple[Path, ...]
    """What was written."""
    format: str
    """"onnx", "torch" or "web"."""
    inputs: dict[str, list[int | str]]
    """Shapes of the inputs by name."""
    checked_batches: tuple[int, ...]
    """Batch sizes that were compared."""
    largest_difference: float
    """Largest absolute difference of any channel of any pixel, where a picture spans −1…1."""
    tolerance: float
    """What was accepted."""
    runtime: str
    """What ran the exported file."""

    def sentence(self) -> str:
        """Return the measured difference in one line."""
        batches = ", ".join(map(str, self.checked_batches))
        return (
            f"Its pictures differ from PyTorch's by at most {self.largest_difference:.1e} (of -1..1; accepted "
            f"{self.tolerance:g}), in {self.runtime} at batch sizes {batches}."
        )


def trace(portable: PortableGenerator) -> torch.export.ExportedProgram:
    """Return the graph of ``portable`` with a free batch size."""
    example = portable.draw_inputs(_EXAMPLE_BATCH, 0.7, torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch", min=1, max=4096)
    args, keywords = portable.arguments(example)
    shapes: dict[str, Any] = {"z": {0: batch}, "psi": {}}
    if "c" in keywords:
        shapes["c"] = {0: batch}
    if "noise" in keywords:
        shapes["noise"] = tuple({0: batch} for _ in keywords["noise"])
    with torch.no_grad(), quiet_exporters():
        # Strict tracing keeps the length of a batch symbolic; the other kind evaluates len() to that of the example.
        return torch.export.export(portable, args, keywords, dynamic_shapes=shapes, strict=True)


def largest_difference(portable: PortableGenerator, run: Runner, *, tolerance: float, what: str) -> float:
    """Return how far the pictures of an export are from PyTorch's, over all of :data:`CHECKED`.

    Args:
        portable: what was exported.
        run: the export, read back from its bytes.
        tolerance: largest absolute difference that is accepted.
        what: name of the export for the message.

    Raises: JobError if shapes differ, a number is not finite, or a difference is above ``tolerance``.
    """
    rng = torch.Generator().manual_seed(1)
    largest = 0.0
    for count, psi in CHECKED:
        inputs = portable.draw_inputs(count, psi, rng)
        with torch.no_grad():
            expected = portable.call_with(portable, inputs)
            found = run(inputs)
        if found.shape != expected.shape:
            raise JobError(f"{what}: a batch of {count} came out as {list(found.shape)} instead of "
                           f"{list(expected.shape)}; nothing was written.")  # fmt: skip
        difference = float((found - expected).abs().max())
        if not difference <= tolerance:
            raise JobError(f"{what}: pictures of a batch of {count} differ from PyTorch's by {difference:.2e}, more "
                           f"than the tolerance of {tolerance:g}; nothing was written.")  # fmt: skip
        largest = max(largest, difference)
    return largest


def export_torch(
    snapshot: Snapshot,
    path: Path,
    *,
    noise: ExportNoise = "const",
    cutoff: int | None = None,
    tolerance: float = TOLERANCE,
) -> ExportReport:
    """Write a ``torch.export`` package, usually called ``.pt2``; it runs in PyTorch without this program.

    Raises: ConfigError for what does not fit the network; JobError if the package, read back, paints other pictures;
        StorageError if ``path`` cannot be written.
    """
    check_writable(path)
    portable = PortableGenerator(snapshot.generator, noise=noise, cutoff=cutoff)
    buffer = io.BytesIO()
    with quiet_exporters():
        torch.export.save(trace(portable), buffer, extra_files={METADATA_KEY: export_facts(snapshot, portable)})
        reloaded = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    difference = largest_difference(
        portable, lambda inputs: portable.call_with(reloaded, inputs), tolerance=tolerance, what="torch.export package"
    )
    with replacing(path) as file:
        file.write(buffer.getvalue())
    return ExportReport(
        files=(path,),
        format="torch",
        inputs=portable.input_shapes(),
        checked_batches=tuple(count for count, _ in CHECKED),
        largest_difference=difference,
        tolerance=tolerance,
        runtime=f"PyTorch {torch.__version__}, read back,",
    )


def export_facts(snapshot: Snapshot, portable: PortableGenerator) -> str:
    """Return what an exported file says about itself, JSON: enough to use it without the snapshot."""
    config = snapshot.generator.config
    facts = {
        "software": f"Capriccio {__version__}",
        "model_hash": model_hash(snapshot.generator),
        "title": snapshot.facts.card.get("title", "A StyleGAN2 generator"),
        "licence": snapshot.facts.licence,
        "z_dim": config.z_dim,
        "c_dim": config.c_dim,
        "channels": config.shape.channels,
        "height": config.shape.height,
        "width": config.shape.width,
        "noise": portable.noise,
        "truncation_cutoff": portable.cutoff,
        "inputs": portable.input_shapes(),
        "seed_rule": "z of seed s is numpy.random.RandomState(s).randn(1, z_dim)",
        "pixel_rule": "byte = floor(clamp(127.5 * x + 128, 0, 255)) of images in -1..1",
    }
    return json.dumps(facts, sort_keys=True)


def need_packages(extra: str, *names: str) -> None:
    """Raise UsageError naming the extra if a package is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"this needs {', '.join(missing)}: pip install 'capriccio[{extra}]'.")


@contextmanager
def quiet_exporters() -> Iterator[None]:
    """Keep the exporters' remarks about packages we do not use, and about themselves, from the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
