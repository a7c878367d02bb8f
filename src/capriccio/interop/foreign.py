"""Network files of any program: recognised by their content, read without running anything in them."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch

from capriccio.errors import CapriccioError, SnapshotError
from capriccio.interop import nvidia_pickle, rosinality, tensorflow_pickle
from capriccio.interop.pickle_reader import ForbiddenGlobalError, Record
from capriccio.interop.pickle_records import PERSISTENT, TF_NETWORK
from capriccio.interop.torch_files import MAGIC, read_archive, read_pickle, read_stream
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, load_snapshot

FileKind = Literal["snapshot", "pickle", "torch archive", "torch stream", "unknown"]
WhichGenerator = Literal["G_ema", "G"]

MAX_FILE_BYTES = 16 * 2**30
UNKNOWN_LICENCE = "unknown: converted from another program's file; ask whoever trained it"

_STREAM_START = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")
_TRAINING_SET_KEYS = ("class_name", "resolution", "use_labels", "max_size", "xflip", "random_seed")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a file holds, before it is built."""

    source: str
    generators: Mapping[str, Any]
    discriminator: Any
    augment_p: float
    data: Mapping[str, Any]


def kind_of(path: Path) -> FileKind:
    """Tell what a file is by its first bytes; its ending says nothing. Raises: SnapshotError if it does not exist."""
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise SnapshotError(f"'{path}' does not exist.") from None
    except OSError as error:
        raise SnapshotError(f"'{path}' cannot be read ({error.strerror}).") from error
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**40:
        return "snapshot"
    if start.startswith(_STREAM_START):
        return "torch stream"
    if start[:1] == b"\x80" and len(start) > 1:
        return "pickle"
    return "torch archive" if start.startswith(b"PK\x03\x04") else "unknown"


def read_network(
    path: Path, device: torch.device | str = "cpu", *, which: WhichGenerator = "G_ema"
) -> Snapshot:
    """Read a network file of Capriccio or of another program.

    Args:
        path: a snapshot; a pickle of StyleGAN2-ADA, StyleGAN3's stylegan2 configuration, or the TensorFlow programs; a
            rosinality checkpoint.
        device: where the networks go; they come in float32 and evaluation mode.
        which: the averaged generator, or the raw one that foreign files also hold.

    Raises: SnapshotError naming the file, and what is damaged, missing, forbidden or not convertible.
    """
    kind = kind_of(path)
    if kind == "snapshot" or path.suffix == ".safetensors":
        if which != "G_ema":
            raise SnapshotError(f"'{path}' is a snapshot, which holds the averaged generator only.")
        return load_snapshot(path, device)
    try:
        snapshot = _read(path, kind, which)
    except ForbiddenGlobalError as error:
        raise ForbiddenGlobalError(error.name, str(path), _other_program(path)) from error
    except CapriccioError as error:
        raise SnapshotError(f"'{path}': {_one_line(error)}") from error
    snapshot.generator.to(device)
    if snapshot.discriminator is not None:
        snapshot.discriminator.to(device)
    return snapshot


def _read(path: Path, kind: FileKind, which: WhichGenerator) -> Snapshot:
    if kind == "unknown":
        raise SnapshotError(
            "it is no network file of any kind that is read (a Capriccio snapshot, an NVIDIA pickle, a rosinality "
            "checkpoint)."
        )
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        if size > MAX_FILE_BYTES:
            raise SnapshotError(f"it is larger than {MAX_FILE_BYTES >> 30} GiB.")
        # Tensors are views into the map until a network takes its copy, so a file costs no memory of its size.
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    read = {"pickle": read_pickle, "torch stream": read_stream, "torch archive": read_archive}[kind]
    content = read(data)
    try:
        return _built(content, size, which)
    except CapriccioError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        # Attributes of a damaged file can be anything; what is not checked by name fails here, not in the user's face.
        raise SnapshotError(f"it is damaged: its settings make no sense ({type(error).__name__}).") from error


def _built(content: Any, size: int, which: WhichGenerator) -> Snapshot:
    generator: Generator
    discriminator: Discriminator | None = None
    found = _found(content)
    value = found.generators.get(which)
    if value is None:
        present = ", ".join(name for name, item in found.generators.items() if item is not None) or "no generator"
        raise SnapshotError(f"it has no generator '{which}'; it has {present}.")
    if found.source == "rosinality":
        latent_avg = content.get("latent_avg") if which == "G_ema" else None
        generator = rosinality.read_generator(value, latent_avg, size)
        if found.discriminator is not None:
            discriminator = rosinality.read_discriminator(found.discriminator, size)
    else:
        reader = tensorflow_pickle if found.source == "StyleGAN2 (TensorFlow)" else nvidia_pickle
        generator = reader.read_generator(value, size)
        if found.discriminator is not None:
            discriminator = reader.read_discriminator(found.discriminator, size)
    if discriminator is not None and discriminator.config.shape != generator.config.shape:
        raise SnapshotError("its generator and discriminator have pictures of different shapes.")
    facts = SnapshotFacts(
        augment_p=found.augment_p,
        data=dict(found.data),
        licence=UNKNOWN_LICENCE,
        software=found.source,
        card={"converted_from": found.source, "generator": which},
    )
    return Snapshot(generator=generator, discriminator=discriminator, facts=facts)


def _found(content: Any) -> _Found:
    if isinstance(content, dict) and any(_is(content.get(name), PERSISTENT) for name in ("G_ema", "G")):
        data = content.get("training_set_kwargs")
        data = data if isinstance(data, dict) else {}
        told = {key: data[key] for key in _TRAINING_SET_KEYS if key in data and _is_plain(data[key])}
        return _Found(
            "StyleGAN2-ADA (PyTorch)" if _is_ada(content) else "StyleGAN3 program, stylegan2 configuration",
            {"G_ema": content.get("G_ema"), "G": content.get("G")},
            content.get("D"),
            nvidia_pickle.augment_p(content.get("augment_pipe")),
            told,
        )
    if isinstance(content, tuple) and len(content) == 3 and all(_is(item, TF_NETWORK) for item in content):
        return _Found("StyleGAN2 (TensorFlow)", {"G_ema": content[2], "G": content[0]}, content[1], 0.0, {})
    if rosinality.looks_like_checkpoint(content):
        p = content.get("ada_aug_p")
        strength = min(max(float(p), 0.0), 1.0) if isinstance(p, (int, float)) and p == p else 0.0
        return _Found(
            "rosinality", {"G_ema": content.get("g_ema"), "G": content.get("g")}, content.get("d"), strength, {}
        )
    holds = f"a {type(content).__name__}"
    if isinstance(content, dict):
        keys = [repr(key[:40]) for key in islice(content, 8) if isinstance(key, str)]
        holds = f"a dictionary with {', '.join(keys) or 'nothing'}"
    raise SnapshotError(f"it is no network of a program that is known: it holds {holds}.")


def _one_line(error: Exception) -> str:
    """Return what an error says; names that it quotes come from the file and may be anything."""
    told = re.sub(r"[^\x20-\x7e\u00a0-\u024f\u2010-\u2265]", "?", str(error))
    return told if len(told) <= 1500 else told[:1500] + "…"


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, Record) and value.kind == kind


def _is_plain(value: Any) -> bool:
    return value is None or (isinstance(value, (str, int, float, bool)) and len(str(value)) < 200)


def _is_ada(content: dict[Any, Any]) -> bool:
    """Tell the two PyTorch programs apart: the later one's generator takes its settings flat."""
    root = nvidia_pickle.Layer(content.get("G_ema") or content.get("G"))
    given = root.get("_init_kwargs")
    if isinstance(given, dict) and given:
        return "synthesis_kwargs" in given or not {"channel_base", "channel_max", "num_fp16_res"} & set(given)
    return True


def _other_program(path: Path) -> str:
    """Return a sentence about a file that asks for the classes of a program that is not read, or nothing."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        marks = (b"SuperresGenerator", b"ProjectedDiscriminator", b"networks_stylegan3_resetting")
        if any(data.find(mark) >= 0 for mark in marks):
            return " It looks like a StyleGAN-XL file: such networks are StyleGAN3's with others on top, no StyleGAN2."
    return ""
