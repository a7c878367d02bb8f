"""Network files of any program: recognised by their content, read without running anything in them."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from capriccio.errors import CapriccioError, SnapshotError
from capriccio.interop.pickle_reader import ForbiddenGlobalError
from capriccio.interop.programs import WhichGenerator, found_in
from capriccio.interop.state_dicts import is_state_file, safetensors_content
from capriccio.interop.torch_files import MAGIC, read_archive, read_pickle, read_stream
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, load_snapshot

FileKind = Literal["safetensors", "pickle", "torch archive", "torch stream", "unknown"]

MAX_FILE_BYTES = 16 * 2**30

_STREAM_START = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")


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
        return "safetensors"
    if start.startswith(_STREAM_START):
        return "torch stream"
    if start[:1] == b"\x80" and len(start) > 1:
        return "pickle"
    return "torch archive" if start.startswith(b"PK\x03\x04") else "unknown"


def is_foreign(path: Path) -> bool:
    """Whether a file is of another program's form, or names its tensors so. Raises: SnapshotError if there is none."""
    kind = kind_of(path)
    return is_state_file(path) if kind == "safetensors" else kind != "unknown"


def read_network(path: Path, device: torch.device | str = "cpu", *, which: WhichGenerator = "G_ema") -> Snapshot:
    """Read a network file of Capriccio or of another program.

    Args:
        path: a snapshot; a pickle of StyleGAN2-ADA, StyleGAN3's stylegan2 configuration, or the TensorFlow programs; a
            rosinality checkpoint; a state dictionary under the names of NVIDIA's programs.
        device: where the networks go; they come in float32 and evaluation mode.
        which: the averaged generator, or the raw one that foreign files also hold.

    Raises: SnapshotError naming the file, and what is damaged, missing, forbidden or not convertible.
    """
    kind = kind_of(path)
    # What is meant to be a snapshot and is damaged is told as one.
    if not is_foreign(path) and ".safetensors" in (f".{kind}", path.suffix):
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
    size = path.stat().st_size
    if kind == "unknown":
        raise SnapshotError(_no_network(path, size))
    if size > MAX_FILE_BYTES:
        raise SnapshotError(f"it is larger than {MAX_FILE_BYTES >> 30} GiB.")
    content = safetensors_content(path) if kind == "safetensors" else _READERS[kind](_mapped(path))
    try:
        return _built(content, size, which)
    except CapriccioError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        # Attributes of a damaged file can be anything; what is not checked by name fails here, not in the user's face.
        raise SnapshotError(f"it is damaged: its settings make no sense ({type(error).__name__}).") from error


def _no_network(path: Path, size: int) -> str:
    """Return what a file is that is no network; the first three are what failed downloads leave behind."""
    with open(path, "rb") as file:
        start = file.read(64)
        file.seek(max(0, size - 1))
        last = file.read(1)
    if not start:
        return "it is empty."
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, which stands for a file that was not fetched: 'git lfs pull' fetches it."
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page, not a network: whoever downloaded it got a page instead of the file."
    if last == b"." and start.startswith(_OLD_PICKLE_STARTS):
        return "it is a pickle of protocol 0 or 1; protocols 2 to 5 are read."
    return (
        "it is no network file of any kind that is read (a Capriccio snapshot, an NVIDIA pickle, a rosinality "
        "checkpoint, a state dictionary under NVIDIA's names)."
    )


_OLD_PICKLE_STARTS = (b"}", b"]", b"c", *(b"(" + bytes((opcode,)) for opcode in b"dltciIKMJLFGVXUSN(]})"))
"""How a dictionary, a list, a tuple or an object begins in protocols 0 and 1."""

_READERS: dict[FileKind, Callable[[memoryview], Any]] = {
    "pickle": read_pickle, "torch stream": read_stream, "torch archive": read_archive
}  # fmt: skip


def _mapped(path: Path) -> memoryview:
    """Return a file's bytes: tensors are views into the map until a network takes its copy."""
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _built(content: Any, size: int, which: WhichGenerator) -> Snapshot:
    found = found_in(content, which)
    value = found.generators.get(which)
    if value is None:
        present = ", ".join(name for name, item in found.generators.items() if item is not None) or "no generator"
        raise SnapshotError(f"it has no generator '{which}'; it has {present}.")
    generator = found.read_generator(value, size)
    discriminator = None
    if found.discriminator is not None:
        discriminator = found.read_discriminator(found.discriminator, size, generator.config.shape)
        if discriminator.config.shape != generator.config.shape:
            raise SnapshotError("its generator and discriminator have pictures of different shapes.")
    assumed = {"assumed_settings": found.assumed} if found.assumed else {}
    facts = SnapshotFacts(
        augment_p=found.augment_p,
        data=dict(found.data),
        licence=found.licence,
        software=found.program,
        card={"converted_from": found.program, "generator": which, **assumed},
    )
    return Snapshot(generator=generator, discriminator=discriminator, facts=facts)


def _one_line(error: Exception) -> str:
    """Return what an error says; names that it quotes come from the file and may be anything."""
    told = re.sub(r"[^\x20-\x7e\u00a0-\u024f\u2010-\u2265]", "?", str(error))
    return told if len(told) <= 1500 else told[:1500] + "…"


def _other_program(path: Path) -> str:
    """Return a sentence about a file that asks for the classes of a program that is not read, or nothing."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        marks = (b"SuperresGenerator", b"ProjectedDiscriminator", b"networks_stylegan3_resetting")
        if any(data.find(mark) >= 0 for mark in marks):
            return " It looks like a StyleGAN-XL file: such networks are StyleGAN3's with others on top, no StyleGAN2."
    return ""
