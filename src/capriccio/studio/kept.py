"""Latents that clients brought or had made: projected photographs, latents files, mixed and edited pictures.

Each is known by its content: the same latents have the same id on every server, nobody can guess one, and a client that
keeps a copy can send it again to a server that no longer has it. So replicas need not share what lies here.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch

from capriccio.errors import UsageError
from capriccio.latent.files import Latents, read_latents, write_latents

if TYPE_CHECKING:
    from capriccio.loading.model import Model

MAX_LATENTS_PER_FILE = 64
"""Latents taken from one file."""

MAX_FILE_BYTES = 64 * 2**20
"""Most that an uploaded file may hold unpacked."""

LARGEST_VALUE = 1e4
"""Latents and noise of any trained network lie far within; beyond it pictures overflow."""

PROJECTED = ", projected"
"""What the name of a photograph's latents ends with, in tables and in files."""

_ID = re.compile(r"w[0-9a-f]{24}")


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One latent, its noise maps where it has some, and its name."""

    id: str
    """Digest of its file."""
    latents: Latents
    """Of one picture."""
    file: bytes
    """Its latents file, ``.safetensors``."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:  # part of entity tags: says what it is, whoever holds it
        return f"Kept({self.id})"

    @property
    def name(self) -> str:
        """What people call it."""
        return self.latents.names[0]


class Archive(Protocol):
    """Where latents lie that should outlive the process."""

    def put_latent(self, latent_id: str, file: bytes) -> None:
        """Keep a file."""
        ...

    def latent(self, latent_id: str) -> bytes | None:
        """Return a file, if it is there."""
        ...


class Shelf:
    """The latents a server has at hand; those asked for longest ago are dropped.

    Args:
        model: the network they must fit.
        archive: where they are kept beyond that; None = nowhere.
        max_bytes: memory they may take.
    """

    def __init__(self, model: Model, archive: Archive | None = None, max_bytes: int = 64 * 2**20) -> None:
        self._model, self._archive, self._max_bytes = model, archive, max_bytes
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, latents: Latents) -> list[Kept]:
        """Keep latents, each by itself. Raises: UsageError for what does not fit the network."""
        found = [self._one(one) for one in _singles(self._fitting(latents))]
        for kept in found:
            self._remember(kept)
            if self._archive is not None:
                self._archive.put_latent(kept.id, kept.file)
        return found

    def take(self, data: bytes, name: str) -> list[Kept]:
        """Keep the latents of a file's bytes. Raises: UsageError saying why the file cannot be used."""
        return self.put(self._read(data, name))

    def get(self, latent_id: str) -> Kept | None:
        """Return the latent of an id, if it is here."""
        with self._lock:
            if latent_id in self._kept:
                self._kept.move_to_end(latent_id)
                return self._kept[latent_id]
        if self._archive is None or not _ID.fullmatch(latent_id):
            return None
        file = self._archive.latent(latent_id)
        if file is None:
            return None
        kept = Kept(latent_id, self._read(file, latent_id), file)
        self._remember(kept)
        return kept

    def _read(self, data: bytes, name: str) -> Latents:
        model = self._model
        latents = read_latents(data, name, num_ws=model.num_ws, w_dim=model.w_dim, max_bytes=MAX_FILE_BYTES)
        if len(latents) > MAX_LATENTS_PER_FILE:
            raise UsageError(f"{name}: holds {len(latents)} latents; at most {MAX_LATENTS_PER_FILE} are taken at once.")
        projected = latents.provenance is not None and latents.provenance.kind == "projection"
        names = latents.names or tuple(_numbered(name, i, len(latents)) for i in range(len(latents)))
        return replace(latents, names=tuple(called(n, projected=projected) for n in names))

    def _fitting(self, latents: Latents) -> Latents:
        model = self._model
        if tuple(latents.ws.shape[1:]) != (model.num_ws, model.w_dim):
            raise UsageError(f"These latents are {list(latents.ws.shape[1:])}, this model's "
                             f"[{model.num_ws}, {model.w_dim}].")  # fmt: skip
        shapes = dict(zip(model.noise_names, model.generator.synthesis.noise_shapes(), strict=True))
        if latents.noise and {name: tuple(maps.shape[1:]) for name, maps in latents.noise.items()} != shapes:
            raise UsageError("These noise maps are not of this model's layers; save the latents without them.")
        for values in (latents.ws, *latents.noise.values()):
            if values.abs().max() > LARGEST_VALUE:
                raise UsageError(f"These latents hold numbers beyond {LARGEST_VALUE:g}; no network has such.")
        return latents

    def _one(self, latents: Latents) -> Kept:
        file = write_latents(latents)
        return Kept("w" + hashlib.blake2b(file, digest_size=12).hexdigest(), latents, file)

    def _remember(self, kept: Kept) -> None:
        with self._lock:
            if kept.id in self._kept:
                self._kept.move_to_end(kept.id)
                return
            self._kept[kept.id] = kept
            self._bytes += 2 * len(kept.file)  # the file and its numbers
            while self._bytes > self._max_bytes and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= 2 * len(dropped.file)


def called(name: str, *, projected: bool = False) -> str:
    """Return a client's name for something as a short line of text; photographs' latents say that they are."""
    word = re.sub(r"\s+", " ", "".join(letter if letter.isprintable() else " " for letter in name)).strip()
    word = word.removesuffix(PROJECTED).strip()[:60] or "latent"
    return word + PROJECTED if projected or name.endswith(PROJECTED) else word


def file_stem(name: str) -> str:
    """Return the name of a client's file without folders and ending."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return last.rpartition(".")[0] or last


def _numbered(name: str, index: int, count: int) -> str:
    return name if count == 1 else f"{name} {index}"


def _singles(latents: Latents) -> Iterator[Latents]:
    """Yield each latent as a file of its own would hold it, whichever file it came from, in memory of its own."""
    for i in range(len(latents)):
        record = latents.provenance
        if record is not None:
            record = replace(record, latents=latents.names[i : i + 1], seeds=record.seeds if len(latents) == 1 else ())
        yield Latents(
            ws=latents.ws[i : i + 1].detach().to("cpu", torch.float32, copy=True),
            noise={name: maps[i : i + 1].detach().to("cpu", copy=True) for name, maps in latents.noise.items()},
            names=latents.names[i : i + 1],
            provenance=record,
        )
