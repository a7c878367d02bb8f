"""The archives of CIFAR-10 and MNIST as their makers publish them."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capriccio.data.building.items import HeldContent, Item
from capriccio.data.building.report import Entry
from capriccio.errors import DatasetError

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_CIFAR_FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_RECORD = 1 + 3 * 32 * 32
_IDX_IMAGES, _IDX_LABELS = 2051, 2049
_FAILURES = (OSError, EOFError, zlib.error, tarfile.TarError, pickle.UnpicklingError)


class CifarSource:
    """CIFAR-10 as a tar file, "python version" or "binary version": the five training batches, with classes."""

    names = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def __iter__(self) -> Iterator[Item | Entry]:
        """Yield the pictures as ``data_batch_1/00000``; the test pictures are left out."""
        try:
            with tarfile.open(self.path, "r:*") as archive:
                for member in sorted((m for m in archive if m.isfile()), key=lambda m: m.name):
                    stem = PurePosixPath(member.name).name.removesuffix(".bin")
                    if not stem.startswith("data_batch"):
                        reason = "test pictures are not trained on" if stem == "test_batch" else "is not a picture"
                        yield Entry(member.name, "dropped" if stem == "test_batch" else "not-an-image", reason)
                        continue
                    file = archive.extractfile(member)
                    data = file.read() if file is not None else b""
                    pixels, labels = _read_binary(data) if member.name.endswith(".bin") else _read_python(data)
                    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
                        yield Item(f"{stem}/{number:05d}", HeldContent(as_pnm(image)), CIFAR_CLASSES[label])
        except (*_FAILURES, ValueError, KeyError, IndexError) as error:
            raise DatasetError(f"'{self.path}' is not CIFAR-10 as published, or damaged ({error}).") from error


class MnistSource:
    """An ``…-images-idx3-ubyte`` file of MNIST or its relatives, gzipped or not, with the labels beside it."""

    names = None

    def __init__(self, images: Path) -> None:
        self.path = images
        self.name = images.name

    def __iter__(self) -> Iterator[Item | Entry]:
        """Yield the pictures as ``train-images/00000``; without labels where their file is not there."""
        stem = self.path.name.split("-idx3")[0]
        labels_path = self.path.with_name(self.path.name.replace("images-idx3", "labels-idx1"))
        try:
            images = _read_idx(self.path, _IDX_IMAGES)
            labels = _read_idx(labels_path, _IDX_LABELS).tolist() if labels_path.exists() else [None] * len(images)
            if len(labels) != len(images):
                raise ValueError(f"{len(images)} pictures, {len(labels)} labels")
        except (*_FAILURES, ValueError, struct.error) as error:
            raise DatasetError(f"'{self.path}' is not in MNIST's format, or damaged ({error}).") from error
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield Item(f"{stem}/{number:05d}", HeldContent(as_pnm(image[None])), label)


def is_cifar(path: Path) -> bool:
    """Whether a tar file is CIFAR-10, by the folder that its first member lies in."""
    try:
        with tarfile.open(path, "r|*") as archive:
            first = archive.next()
            return first is not None and first.name.split("/")[0] in _CIFAR_FOLDERS
    except _FAILURES:
        return False


def is_mnist(path: Path) -> bool:
    """Whether a file holds pictures in MNIST's format, by its name."""
    return path.name.removesuffix(".gz").endswith("images-idx3-ubyte")


def as_pnm(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels [C, H, W] as the simplest of picture files: a line of text, then the samples."""
    channels, height, width = pixels.shape
    header = f"{'P6' if channels == 3 else 'P5'} {width} {height} 255\n".encode()
    return header + pixels.transpose(1, 2, 0).tobytes()


def _read_binary(data: bytes) -> tuple[NDArray[np.uint8], list[int]]:
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, _CIFAR_RECORD)
    return records[:, 1:].reshape(-1, *_CIFAR_SHAPE), records[:, 0].tolist()


def _read_python(data: bytes) -> tuple[NDArray[np.uint8], list[int]]:
    batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    return np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, *_CIFAR_SHAPE), list(batch[b"labels"])


class _ArraysOnly(pickle.Unpickler):
    """Reads dictionaries, lists and arrays; a pickle that asks for anything else is refused, never run."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return what arrays are rebuilt with."""
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            rebuilt: Callable[..., Any] = np.zeros(0).__reduce__()[0]  # type: ignore[assignment]
            return rebuilt
        if module == "numpy" and name in ("ndarray", "dtype"):
            return np.ndarray if name == "ndarray" else np.dtype
        if module == "_codecs" and name == "encode":  # how bytes are written for old versions of Python
            return lambda text, encoding: text.encode("latin1")
        raise pickle.UnpicklingError(f"asks for {module}.{name}")


def _read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found, *shape = struct.unpack(f">{2 if magic == _IDX_LABELS else 4}I", data[: 8 if magic == _IDX_LABELS else 16])
    if found != magic:
        raise ValueError(f"begins with {found}, not {magic}")
    return np.frombuffer(data, dtype=np.uint8, offset=4 * (len(shape) + 1)).reshape(shape)
