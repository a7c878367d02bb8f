"""Latents files: W latents with noise maps and provenance, one format for every part that makes or takes latents.

A file is ``.safetensors`` or ``.npz`` with the arrays

* ``ws`` — [N, num_ws, w_dim], float32;
* ``noise.<name>`` — optional noise maps, one per picture, [N, H, W] (``name`` is a layer's, for example ``b8.conv0``);
* ``extra.<name>`` — optional: what else belongs to them, such as a projection's pictures; other readers pass it over;

and the record ``capriccio`` (JSON): provenance and names of the N latents. NVIDIA's ``projected_w.npz`` (array ``w``)
is read too. Nothing in a file is executed, and no size it states is believed.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy_format
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as safetensors_arrays
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from capriccio.durable import replacing
from capriccio.errors import ShapeError, UsageError
from capriccio.provenance import Provenance

SUFFIXES = (".safetensors", ".npz")
"""Endings of latents files."""

MAX_FILE_BYTES = 4 * 2**30
"""Largest unpacked latents file that is read."""

_RECORD = "capriccio"
_NOISE = "noise."
_EXTRA = "extra."
_Contents = tuple[dict[str, Tensor], str | None]
"""Arrays by name, and the record."""
_DAMAGED = (OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, SyntaxError, struct.error,
            zipfile.BadZipFile, zlib.error, SafetensorError)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """Latents of one network, checked: finite, float32, of fitting shapes."""

    ws: Tensor
    """[N, num_ws, w_dim]."""
    noise: Mapping[str, Tensor] = field(default_factory=dict)
    """Noise maps by layer name, each [N, H, W]; empty = the network's own."""
    names: tuple[str, ...] = ()
    """A name for each latent, or none."""
    provenance: Provenance | None = None
    """What made them."""

    def __post_init__(self) -> None:
        if self.ws.ndim != 3 or 0 in self.ws.shape:
            raise ShapeError(f"ws must be [N, num_ws, w_dim] with at least one of each, got {list(self.ws.shape)}.")
        for name, values in {"ws": self.ws, **self.noise}.items():
            if not values.is_floating_point():
                raise ShapeError(f"{name} must hold floating-point numbers, got {values.dtype}.")
            if not torch.isfinite(values).all():
                raise UsageError(f"{name} holds values that are not finite (NaN or infinity).")
        for name, values in self.noise.items():
            if values.ndim != 3 or len(values) != len(self.ws):
                raise ShapeError(f"noise map {name} must be [{len(self.ws)}, H, W], got {list(values.shape)}.")
        if self.names and len(self.names) != len(self.ws):
            raise ShapeError(f"{len(self.ws)} latents need as many names or none, got {len(self.names)}.")

    def __len__(self) -> int:
        return len(self.ws)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """What else a latents file holds."""

    arrays: Mapping[str, Tensor]
    """Float32, by name."""
    facts: Mapping[str, Any]
    """JSON values."""


def save_latents(path: str | Path, latents: Latents, extra: Extra | None = None) -> Path:
    """Write ``latents``, and what else belongs to them, whole or not at all; the ending chooses the format.

    Raises: UsageError for an ending other than .safetensors or .npz; StorageError if the disk does not take it.
    """
    path = Path(path)
    data = write_latents(latents, _suffix(path), extra)
    with replacing(path) as file:
        file.write(data)
    return path


def write_latents(latents: Latents, suffix: str = ".safetensors", extra: Extra | None = None) -> bytes:
    """Return ``latents`` as the bytes of a file; the same latents are the same bytes as ``.safetensors``."""
    arrays = {"ws": latents.ws, **{_NOISE + name: values for name, values in latents.noise.items()}}
    if extra is not None:
        arrays |= {_EXTRA + name: values for name, values in extra.arrays.items()}
    arrays = {name: values.detach().to("cpu", torch.float32).contiguous() for name, values in arrays.items()}
    record = json.dumps({
        "names": list(latents.names),
        "provenance": json.loads(latents.provenance.to_json()) if latents.provenance else None,
        **({} if extra is None else {"extra": dict(extra.facts)}),
    }, sort_keys=True)  # fmt: skip
    if suffix == ".safetensors":
        return safetensors_bytes(arrays, metadata={_RECORD: record})
    text = np.frombuffer(record.encode(), dtype=np.uint8)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{name: a.numpy() for name, a in arrays.items()}, **{_RECORD: text})
    return file.getvalue()


def save_projected_w(path: str | Path, latents: Latents) -> Path:
    """Write NVIDIA's ``projected_w.npz``: one array ``w`` [N, num_ws, w_dim], which many programs read.

    Names, noise maps and provenance have no place in it.

    Raises: UsageError for an ending other than .npz; StorageError if the disk does not take it.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise UsageError(f"{path}: NVIDIA's file of latents ends in .npz.")
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, w=latents.ws.detach().to("cpu", torch.float32).numpy())
    return path


def load_latents(path: str | Path, *, num_ws: int | None = None, w_dim: int | None = None) -> Latents:
    """Read a latents file and check that it fits a network.

    Args:
        path: a ``.safetensors`` or ``.npz`` file of this module, or NVIDIA's ``projected_w.npz``.
        num_ws: latent rows of the network it is meant for; None = any.
        w_dim: size of w of that network; None = any.

    Raises: UsageError, naming the file, if it is missing, damaged, of another kind or network, or holds NaN.
    """
    return _load(path, num_ws, w_dim)[0]


def load_with_extra(path: str | Path) -> tuple[Latents, Extra]:
    """Read a latents file and what else it holds; see :func:`load_latents`."""
    return _load(path, None, None)


def _load(path: str | Path, num_ws: int | None, w_dim: int | None) -> tuple[Latents, Extra]:
    path = Path(path)
    _suffix(path)
    if not path.is_file():
        raise UsageError(f"{path}: there is no such latents file.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UsageError(f"{path}: larger than {MAX_FILE_BYTES >> 30} GiB.")
    return _checked(lambda: _contents(path), str(path), num_ws, w_dim)


def read_latents(
    data: bytes, name: str, *, num_ws: int | None = None, w_dim: int | None = None, max_bytes: int = MAX_FILE_BYTES
) -> Latents:
    """Read the bytes of a latents file, of either format; see :func:`load_latents`.

    Args:
        data: the file.
        name: what errors call it.
        num_ws: latent rows of the network it is meant for; None = any.
        w_dim: size of w of that network; None = any.
        max_bytes: most that it may hold unpacked.

    Raises: UsageError as :func:`load_latents`.
    """

    def contents() -> _Contents:
        return _read_npz(io.BytesIO(data), max_bytes) if data[:2] == b"PK" else _read_safetensors(data, max_bytes)

    return _checked(contents, name, num_ws, w_dim)[0]


def _contents(path: Path) -> _Contents:
    """Read a file's arrays and record; what is no latents file is told before its length is taken as memory."""
    with open(path, "rb") as file:
        if file.read(2) == b"PK":
            return _read_npz(file, MAX_FILE_BYTES)
    with safe_open(path, "pt"):  # its header must account for every byte of the file
        return _read_safetensors(path.read_bytes(), MAX_FILE_BYTES)


def _checked(read: Callable[[], _Contents], name: str, num_ws: int | None, w_dim: int | None) -> tuple[Latents, Extra]:
    """Return latents that fit a network and what else there is, or raise an error that begins with the file's name."""
    try:
        arrays, text = read()
        record = _record(text)
        latents, extra = _latents(arrays, record), _extra(arrays, record)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    except PermissionError as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror}).") from error
    except _DAMAGED as error:
        raise UsageError(f"{name}: not a latents file, or damaged ({error}).") from error
    for what, needed, came in (("num_ws", num_ws, latents.ws.shape[1]), ("w_dim", w_dim, latents.ws.shape[2])):
        if needed is not None and needed != came:
            raise ShapeError(f"{name}: made for a network with {what} {came}; this model has {what} {needed}. "
                             "Use the model it was made with.")  # fmt: skip
    return latents, extra


def is_latents_file(path: str | Path) -> bool:
    """Whether a file is one of latents, by what it holds; a damaged archive counts as one, and reading it says more."""
    path = Path(path)
    if path.suffix.lower() == ".npz":
        return path.is_file()
    try:
        with safe_open(path, "pt") as file:
            return "ws" in file.keys()  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError):
        return False


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: a latents file ends in {' or '.join(SUFFIXES)}.")
    return suffix


def _latents(arrays: dict[str, Tensor], record: Mapping[str, Any]) -> Latents:
    ws = arrays.get("ws", arrays.get("w"))
    if ws is None:
        raise _no_latents(arrays)
    facts = _facts(record)
    noise = {name.removeprefix(_NOISE): a.float() for name, a in arrays.items() if name.startswith(_NOISE)}
    return Latents(ws=ws.float(), noise=noise, **facts)


def _extra(arrays: dict[str, Tensor], record: Mapping[str, Any]) -> Extra:
    values = {name.removeprefix(_EXTRA): a.float() for name, a in arrays.items() if name.startswith(_EXTRA)}
    facts = record.get("extra")
    return Extra(arrays=values, facts=facts if isinstance(facts, dict) else {})


def _record(text: str | None) -> dict[str, Any]:
    """Return a record; a damaged one is as good as none."""
    try:
        values = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _no_latents(names: Iterable[str]) -> UsageError:
    return UsageError(f"has no array 'ws' (or NVIDIA's 'w'); it has {', '.join(sorted(names)) or 'nothing'}.")


def _facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """Names and provenance of a record; a damaged one loses them, never the latents."""
    try:
        names = tuple(str(name) for name in record.get("names", ()))
        provenance = record.get("provenance")
        return {"names": names, "provenance": Provenance.from_json(json.dumps(provenance)) if provenance else None}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}


def _read_safetensors(data: bytes, max_bytes: int) -> _Contents:
    if len(data) > max_bytes:
        raise UsageError(f"larger than {max_bytes:,} bytes.")
    arrays = safetensors_arrays(data)  # checks every offset against the true length
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    record = header.get("__metadata__", {}).get(_RECORD)
    return arrays, record


def _read_npz(source: IO[bytes], max_bytes: int) -> _Contents:
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    with zipfile.ZipFile(source) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        if sum(member.file_size for member in members) > max_bytes:
            raise UsageError(f"unpacks to more than {max_bytes:,} bytes.")
        for member in members:
            with archive.open(member) as file:
                # As much as the directory states, and no more: without a size all that it unpacks to would be made.
                arrays[member.filename.removesuffix(".npy")] = _read_npy(file.read(member.file_size + 1))
    text = arrays.pop(_RECORD, None)
    record = text.tobytes().decode("utf-8", "replace") if text is not None else None
    if not arrays.keys() & {"ws", "w"}:
        raise _no_latents(arrays)
    wanted = {name: a for name, a in arrays.items() if name in ("ws", "w") or name.startswith((_NOISE, _EXTRA))}
    for name, a in wanted.items():
        if a.dtype.kind != "f":
            raise ShapeError(f"{name} must hold floating-point numbers, got {a.dtype}.")
    return {name: torch.from_numpy(a.astype(np.float32)) for name, a in wanted.items()}, record


def _read_npy(data: bytes) -> np.ndarray[Any, Any]:
    """Read one array whose header must agree with the bytes that are there, before memory is taken for it."""
    file = io.BytesIO(data)
    version = npy_format.read_magic(file)
    read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise UsageError("holds pickled objects, which are never loaded.")
    if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise UsageError("is damaged: an array is not as long as its header says.")
    array: np.ndarray[Any, Any] = npy_format.read_array(io.BytesIO(data), allow_pickle=False)
    return array
