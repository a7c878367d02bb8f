"""From one network file to another: to a snapshot of Capriccio, and back to the formats of the field."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from capriccio.durable import replacing
from capriccio.errors import UsageError
from capriccio.interop.foreign import read_network
from capriccio.interop.programs import WhichGenerator
from capriccio.interop.rosinality import to_checkpoint, warnings_about
from capriccio.interop.state_dicts import SETTINGS, nvidia_state
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot, StoredDtype, load_snapshot, model_hash, save_snapshot
from capriccio.snapshots.tuning import load_tuning, tuned_snapshot

Target = Literal["snapshot", "rosinality", "nvidia"]

ENDINGS: dict[Target, tuple[str, ...]] = {
    "snapshot": (".safetensors",),
    "rosinality": (".pt",),
    "nvidia": (".pt", ".safetensors"),
}
"""Endings of what is written; what is read has any."""

_CHECKED_SEEDS = range(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far the pictures of what was stored are from those of what was read, in grey levels of 256."""

    largest: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """What was read and written."""

    source: str
    """The program the network comes from."""
    target: Target
    model_hash: str
    shape: str
    nimg: int
    has_discriminator: bool
    difference: Difference
    """Between the pictures of eight seeds, before and after; 0 where the numbers are stored as they are."""
    warnings: tuple[str, ...]


def convert(
    source: Path,
    destination: Path,
    *,
    to: Target = "snapshot",
    which: WhichGenerator = "G_ema",
    dtype: StoredDtype = "float32",
    slim: bool = False,
    tuning: str | Path | None = None,
) -> ConversionReport:
    """Read a network file of any kind and write it as another.

    Args:
        source: what :func:`~capriccio.interop.foreign.read_network` reads.
        destination: file to write, whole or not at all.
        to: a snapshot; a rosinality checkpoint; or tensors under the names of NVIDIA's PyTorch programs.
        which: the averaged or the raw generator of a foreign file.
        dtype: how numbers are stored; float16 halves the file.
        slim: leave the discriminator out.
        tuning: file of a tuning of this network that is applied to it first.

    Raises: SnapshotError for a file that cannot be read, has no place in the format, or is a tuning of another network;
        UsageError for an ending that
        does not fit; StorageError if the disk does not take it.
    """
    if destination.suffix not in ENDINGS[to]:
        raise UsageError(f"'{destination}': a file of kind '{to}' ends in {' or '.join(ENDINGS[to])}.")
    if destination.exists() and source.exists() and destination.samefile(source):
        raise UsageError(f"'{destination}' is the file that is read; name another to write.")
    snapshot = read_network(source, which=which)
    if tuning is not None:
        snapshot = tuned_snapshot(snapshot, load_tuning(tuning))
    if slim:
        snapshot = dataclasses.replace(snapshot, discriminator=None, encoder=None)
    if to == "snapshot":
        save_snapshot(destination, snapshot, dtype)
        stored = load_snapshot(destination).generator
    else:
        content = to_checkpoint(snapshot) if to == "rosinality" else nvidia_state(snapshot)
        content = _in_dtype(content, dtype)
        _write(destination, content)
        stored = _as_stored(snapshot.generator, dtype)
    return ConversionReport(
        source=snapshot.facts.software or "Capriccio",
        target=to,
        model_hash=model_hash(stored),
        shape=str(snapshot.generator.config.shape),
        nimg=snapshot.facts.nimg,
        has_discriminator=snapshot.discriminator is not None,
        difference=picture_difference(snapshot.generator, stored),
        warnings=(*_assumptions(snapshot), *(warnings_about(snapshot) if to == "rosinality" else ())),
    )


def _assumptions(snapshot: Snapshot) -> list[str]:
    assumed = snapshot.facts.card.get("assumed_settings")
    return [f"The file does not say all settings; assumed: {assumed}."] if assumed else []


@torch.no_grad()
def picture_difference(before: Generator, after: Generator) -> Difference:
    """Compare two generators of one configuration on eight seeds, with the stored noise and no truncation."""
    config = before.config
    differences = []
    for seed in _CHECKED_SEEDS:  # one after the other: a picture of 1024 pixels needs a gigabyte
        rng = np.random.RandomState(seed)
        z = torch.from_numpy(rng.randn(1, config.z_dim)).float()
        c = torch.eye(config.c_dim)[[seed % config.c_dim]] if config.c_dim else None
        pictures = [network(z, c).clamp(-1, 1) * 127.5 for network in (before, after)]
        differences.append((pictures[0] - pictures[1]).abs())
    return Difference(
        largest=max(float(d.max()) for d in differences), mean=float(np.mean([float(d.mean()) for d in differences]))
    )


def _as_stored(generator: Generator, dtype: StoredDtype) -> Generator:
    stored = Generator(generator.config).eval()
    kept = {name: _stored(tensor, dtype).float() for name, tensor in generator.state_dict().items()}
    stored.load_state_dict(kept)
    return stored.requires_grad_(False)


def _in_dtype(content: Any, dtype: StoredDtype) -> Any:
    if isinstance(content, dict):
        return {key: _in_dtype(value, dtype) for key, value in content.items()}
    return _stored(content, dtype) if isinstance(content, Tensor) else content


def _stored(tensor: Tensor, dtype: StoredDtype) -> Tensor:
    """Return ``tensor`` as it is stored; in its own kind of number where half precision cannot hold it."""
    small = tensor.half() if dtype == "float16" else tensor
    return small if bool(small.isfinite().all()) else tensor


def _write(destination: Path, content: dict[str, Any]) -> None:
    if destination.suffix == ".safetensors":
        flat = {
            f"{key}.{name}": tensor.contiguous()
            for key, tensors in content.items()
            if isinstance(tensors, dict)
            for name, tensor in tensors.items()
        }
        data = safetensors_bytes(flat, metadata={SETTINGS: content[SETTINGS]})
    else:
        file = io.BytesIO()
        torch.save(content, file)
        data = file.getvalue()
    with replacing(destination) as target:
        target.write(data)
