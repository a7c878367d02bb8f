"""Snapshots: the averaged generator (and the discriminator) in one safetensors file with a JSON header.

The header is one metadata entry, ``capriccio``, in canonical JSON (sorted keys, no spaces): safetensors writes several
entries in random order, and a snapshot's bytes depend on the training alone. It holds no time, path or host.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from capriccio.config import DiscriminatorConfig, GeneratorConfig, from_dict, hashed_dict, to_dict
from capriccio.durable import replacing
from capriccio.errors import ConfigError, SnapshotError
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.encoder import Encoder, EncoderConfig
from capriccio.networks.generator import Generator
from capriccio.snapshots.encoder_file import encoder_tensors
from capriccio.snapshots.filling import filled

FORMAT_VERSION = 2
"""Raised when the header changes so that older programs cannot read it; older versions always load.

Version 2 may hold an encoder; a file without one is still written as version 1."""

TUNING_KIND = "tuning"
"""What the header of a tuning says it is; see :mod:`capriccio.snapshots.tuning`."""

_KEY = "capriccio"

StoredDtype = Literal["float32", "float16"]
_DTYPES: dict[StoredDtype, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """What a snapshot says about itself beside its tensors."""

    nimg: int = 0
    """Images shown to the discriminator."""
    pl_mean: float = 0.0
    """Running mean of path lengths, for going on from the snapshot."""
    augment_p: float = 0.0
    """Strength of adaptive augmentation, for going on from the snapshot."""
    data: dict[str, Any] = field(default_factory=dict)
    """The data card: name, hash, counts, licence, held-out pictures."""
    w_statistics: dict[str, float] = field(default_factory=dict)
    """Spread of W, for projection: ``w_std``, ``num_samples``."""
    calibration: dict[str, Any] = field(default_factory=dict)
    """What the detector learnt about this network; empty = not calibrated."""
    licence: str = "Apache-2.0"
    """Licence of the weights."""
    software: str = ""
    """Version of the program that trained it."""
    card: dict[str, Any] = field(default_factory=dict)
    """Free facts for people: title, description, numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A network with its facts."""

    generator: Generator
    """The averaged generator."""
    discriminator: Discriminator | None
    """The discriminator; None in slim snapshots."""
    facts: SnapshotFacts
    """What it says about itself."""
    encoder: Encoder | None = None
    """What guesses latents of pictures, for projection; None = not trained."""


def snapshot_bytes(snapshot: Snapshot, dtype: StoredDtype = "float32") -> bytes:
    """Return a snapshot as the bytes of its file."""
    tensors = _stored(snapshot.generator, "generator.", _DTYPES[dtype])
    discriminator = snapshot.discriminator
    if discriminator is not None:
        tensors |= _stored(discriminator, "discriminator.", _DTYPES[dtype])
    if snapshot.encoder is not None:
        tensors |= {f"encoder.{name}": tensor for name, tensor in encoder_tensors(snapshot.encoder).items()}
    header = header_of(snapshot, dtype)
    return save(tensors, metadata={_KEY: json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True)})


def header_of(snapshot: Snapshot, dtype: StoredDtype = "float32") -> dict[str, Any]:
    """Return what the header of a snapshot's file says."""
    discriminator, encoder = snapshot.discriminator, snapshot.encoder
    return {
        "format_version": 1 if encoder is None else FORMAT_VERSION,
        "generator": to_dict(snapshot.generator.config),
        "discriminator": None if discriminator is None else to_dict(discriminator.config),
        "dtype": dtype,
        **({} if encoder is None else {"encoder": to_dict(encoder.config)}),
        **dataclasses.asdict(snapshot.facts),
    }


def save_snapshot(path: Path, snapshot: Snapshot, dtype: StoredDtype = "float32") -> None:
    """Write a snapshot; the file appears complete or not at all.

    Raises: StorageError if the disk is full or cannot be written.
    """
    data = snapshot_bytes(snapshot, dtype)
    with replacing(path) as file:
        file.write(data)


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a snapshot without reading its tensors.

    Raises: SnapshotError if the file is no snapshot, is damaged, or is of a later format version.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        header = json.loads(metadata[_KEY])
        version = header["format_version"]
    except FileNotFoundError:
        raise SnapshotError(f"'{path}' does not exist.") from None
    except (OSError, SafetensorError) as error:
        raise SnapshotError(f"'{path}' is not a snapshot, or it is truncated ({_first_line(error)}).") from error
    except (KeyError, ValueError, TypeError) as error:
        raise SnapshotError(f"'{path}' is a safetensors file, but Capriccio did not write it.") from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise SnapshotError(
            f"'{path}' has format version {version}; this program reads up to {FORMAT_VERSION}. Update capriccio."
        )
    if header.get("kind") == TUNING_KIND:
        raise SnapshotError(f"'{path}' is the tuning of a network, not a network; give it with --tuning.")
    return dict(header)


def load_snapshot(path: Path, device: torch.device | str = "cpu") -> Snapshot:
    """Read a snapshot; networks come in float32 and evaluation mode.

    Raises: SnapshotError naming the file, and listing the tensors that are missing or too many.
    """
    header = read_header(path)
    try:
        plan = from_dict(GeneratorConfig, header["generator"])
        judge = None if header["discriminator"] is None else from_dict(DiscriminatorConfig, header["discriminator"])
        guesses = None if header.get("encoder") is None else from_dict(EncoderConfig, header["encoder"])
        facts = _facts(header)
    except (KeyError, ConfigError) as error:
        raise SnapshotError(f"'{path}': its header does not describe a network ({_first_line(error)}).") from error
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    parts: dict[str, dict[str, Tensor]] = {"generator.": {}, "discriminator.": {}, "encoder.": {}, "": {}}
    for name, tensor in tensors.items():
        parts[next(prefix for prefix in parts if name.startswith(prefix))][name] = tensor
    unwanted = parts[""] | ({} if judge is not None else parts["discriminator."])
    unwanted |= {} if guesses is not None else parts["encoder."]
    if unwanted:
        raise SnapshotError(f"'{path}' has tensors that no part of the network wants: {_some(sorted(unwanted))}.")
    try:
        generator = filled(Generator, plan, parts["generator."], "generator.{}".format).to(device)
        discriminator = None
        if judge is not None:
            discriminator = filled(Discriminator, judge, parts["discriminator."], "discriminator.{}".format).to(device)
        encoder = None
        if guesses is not None:
            encoder = filled(Encoder, guesses, parts["encoder."], "encoder.{}".format).to(device)
    except SnapshotError as error:
        raise SnapshotError(f"'{path}': {error}") from error
    return Snapshot(generator=generator, discriminator=discriminator, facts=facts, encoder=encoder)


def _facts(header: dict[str, Any]) -> SnapshotFacts:
    """Return the facts of a header. Raises: ConfigError where one is of another type: files come from strangers."""
    usual = SnapshotFacts()
    given = {f.name: header[f.name] for f in dataclasses.fields(usual) if f.name in header}
    for name, value in given.items():
        kind = type(getattr(usual, name))
        if not isinstance(value, (int, float) if kind is float else kind):
            raise ConfigError(f"{name} must be of type {kind.__name__}, got {str(value)[:80]}")
    return SnapshotFacts(**given)


def model_hash(generator: Generator) -> str:
    """Return the hash of a generator's configuration and tensors, 16 hexadecimal digits.

    Calibrating, re-packing or slimming a snapshot keeps it; training one more step or storing half precision does not.
    """
    digest = hashlib.sha256(json.dumps(_unusual(generator.config), sort_keys=True).encode())
    for name, tensor in sorted(generator.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _unusual(config: GeneratorConfig) -> dict[str, Any]:
    """Return the settings that are not the defaults: a setting that is invented later changes no hash.

    A section is told whole where any of it is unusual.
    """
    usual = hashed_dict(GeneratorConfig())
    return {name: value for name, value in hashed_dict(config).items() if value != usual[name]}


def _stored(network: nn.Module, prefix: str, dtype: torch.dtype) -> dict[str, Tensor]:
    return {prefix + name: _fitting(tensor.detach().cpu(), dtype) for name, tensor in network.state_dict().items()}


def _fitting(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``tensor`` in ``dtype``; in its own where a number is too large for that."""
    small = tensor.to(dtype)
    return (small if bool(small.isfinite().all()) or not bool(tensor.isfinite().all()) else tensor).contiguous()


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:400]  # a header may quote anything
