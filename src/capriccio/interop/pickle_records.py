"""The names that network pickles may ask for, and the inert thing each becomes.

Tensors become :class:`TensorRecord`, views into the file that are copied only when a network takes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capriccio.errors import SnapshotError
from capriccio.interop.pickle_reader import Named, Record

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
TF_NETWORK = "dnnlib.tflib.network.Network"

MAX_DIMENSIONS = 8

STORAGE_TYPES = {
    "HalfStorage": "<f2", "FloatStorage": "<f4", "DoubleStorage": "<f8", "BoolStorage": "|b1", "ByteStorage": "|u1",
    "CharStorage": "|i1", "ShortStorage": "<i2", "IntStorage": "<i4", "LongStorage": "<i8",
}  # fmt: skip
"""Numbers by torch's names for memory of them."""

_NUMBER_CODES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


@dataclass(slots=True, eq=False)
class StorageRecord:
    """Memory of one kind of number; ``data`` is set when its place in the file is known."""

    dtype: np.dtype[Any]
    count: int
    data: memoryview | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TensorRecord:
    """A tensor's place in a storage, checked when it is read."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> Tensor:
        """Return a float32 (or integer) copy.

        Raises: SnapshotError if it reaches outside its storage, or says to be larger than it.
        """
        data = self.storage.data
        if data is None or len(data) != self.storage.count * self.storage.dtype.itemsize:
            raise SnapshotError("it is truncated: the numbers of a tensor are missing.")
        numel = math.prod(self.shape)
        reach = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True)) + 1
        if numel and (reach > self.storage.count or numel > self.storage.count):
            raise SnapshotError(f"it is damaged: a tensor {list(self.shape)} reaches outside its memory.")
        flat = np.frombuffer(data, self.storage.dtype)[self.offset :]
        size = self.storage.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(flat, self.shape, [s * size for s in self.stride], writeable=False)
        return to_tensor(view)


def to_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a copy of an array that the file may own; floating-point numbers become float32."""
    kept = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(np.array(kept, order="C"))


def tensor_of(value: Any) -> Tensor | None:
    """Return the tensor that a record, array or number of a file means; None if it is none of these."""
    if isinstance(value, Tensor):  # of safetensors, whose reader makes nothing else
        return value.float() if value.is_floating_point() else value
    if isinstance(value, TensorRecord):
        return value.tensor()
    if isinstance(value, Record) and value.kind == "numpy.ndarray":
        return to_tensor(_array(value))
    if isinstance(value, (int, float, np.generic)) and not isinstance(value, bool):
        return torch.tensor(float(value))
    return None


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**40:
        raise SnapshotError("it is damaged: a size that is no size.")
    return value


def _sizes(values: Any) -> tuple[int, ...]:
    if isinstance(values, int):
        values = (values,)
    if not isinstance(values, (tuple, list)) or len(values) > MAX_DIMENSIONS:
        raise SnapshotError("it is damaged: a shape that is no shape.")
    return tuple(_count(value) for value in values)


def _rebuilt_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRecord:
    size, stride = _sizes(size), _sizes(stride)
    if not isinstance(storage, StorageRecord) or len(size) != len(stride):
        raise SnapshotError("it is damaged: a tensor without memory.")
    return TensorRecord(storage, _count(offset), size, stride)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _dictionary(*pairs: Any) -> dict[Any, Any]:
    if pairs and pairs != ([],) and pairs != ({},):
        raise SnapshotError("it is damaged: a dictionary made from something.")
    return {}


def _set(items: Any = ()) -> set[Any]:
    if not all(isinstance(item, (str, int)) for item in items):
        raise SnapshotError("it has a set of something that is neither text nor a number.")
    return set(items)


def dtype_of(value: Any) -> np.dtype[Any]:
    """Return the kind of number a pickled ``numpy.dtype`` means. Raises: SnapshotError if it is no kind of number."""
    if isinstance(value, Record) and value.kind == "numpy.dtype" and value.made_from:
        code = value.made_from[0]
        order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
        if isinstance(code, str) and code in _NUMBER_CODES and order in ("<", ">", "|", "="):
            return np.dtype(code if order == "|" else order + code)
    raise SnapshotError("it has an array of something other than numbers.")


def _scalar(dtype: Any, data: Any) -> Any:
    kind = dtype_of(dtype)
    if isinstance(data, str):
        data = data.encode("latin-1")
    if not isinstance(data, (bytes, memoryview)) or len(data) != kind.itemsize:
        raise SnapshotError("it is damaged: a number of the wrong length.")
    return np.frombuffer(data, kind)[0].item()


def _array(record: Record) -> np.ndarray[Any, Any]:
    """Return the array whose state is (version, shape, dtype, whether in Fortran's order, bytes)."""
    state = record.state
    if not isinstance(state, tuple) or len(state) != 5:
        raise SnapshotError("it is damaged: an array without contents.")
    shape, kind, fortran, data = _sizes(state[1]), dtype_of(state[2]), state[3], state[4]
    if isinstance(data, str):
        data = data.encode("latin-1")
    if not isinstance(data, (bytes, memoryview)) or len(data) != math.prod(shape) * kind.itemsize:
        raise SnapshotError("it is damaged: an array is not as long as its shape says.")
    return np.frombuffer(data, kind).reshape(shape, order="F" if fortran is True else "C")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise SnapshotError("it encodes something that is no bytes of an older pickle.")
    return text.encode("latin-1")


def record(kind: str) -> Callable[..., Record]:
    """Return a constructor of inert records of ``kind``."""
    return lambda *made_from: Record(kind, made_from)


def _reconstructed(cls: Any = None, base: Any = None, state: Any = None) -> Record:
    if not isinstance(cls, Named):
        raise SnapshotError("it makes an object of no class.")
    return Record(cls.name)


def _never(*_: Any) -> Any:
    raise SnapshotError("it calls a class that only stands for a kind of memory.")


_BOTH_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")

ALLOWED: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "dnnlib.util.EasyDict": _dictionary,
    "dnnlib.EasyDict": _dictionary,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "torch._utils._rebuild_tensor_v2": _rebuilt_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": lambda sizes=(): _sizes(sizes),
    "torch.device": record("torch.device"),
    "numpy.dtype": record("numpy.dtype"),
    "numpy.ndarray": record("numpy.ndarray"),
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
    "builtins.object": record("builtins.object"),
    "argparse.Namespace": record("argparse.Namespace"),
    PERSISTENT: record(PERSISTENT),
    TF_NETWORK: record(TF_NETWORK),
    **{f"{module}.scalar": _scalar for module in _BOTH_NUMPY},
    **{f"{module}._reconstruct": lambda *_: Record("numpy.ndarray") for module in _BOTH_NUMPY},
    **{f"torch.{name}": _never for name in STORAGE_TYPES},
}
"""What is called in place of every name a network pickle may ask for. Nothing here imports, opens or runs anything."""
