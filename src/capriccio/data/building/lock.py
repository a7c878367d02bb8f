"""Where an archive may be written, and that only one process at a time writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from capriccio.durable import lock_file
from capriccio.errors import DatasetError, StorageError


def check_archive_name(dest: Path) -> None:
    """Raise DatasetError unless ``dest`` can be the name of an archive."""
    if dest.suffix.lower() != ".zip":
        raise DatasetError(f"'{dest}' must end in .zip: a data set is one archive.")


def check_new_archive(dest: Path, *, force: bool) -> None:
    """Raise DatasetError unless a new archive may be written to ``dest``; ``force`` = also over one that is there."""
    check_archive_name(dest)
    if dest.exists() and not force:
        raise DatasetError(
            f"'{dest}' exists and is not overwritten; --force replaces it, `capriccio dataset add` lets it grow."
        )


@contextmanager
def writing_alone(dest: Path) -> Iterator[None]:
    """Hold the archive ``dest`` for this process, and clear away what a killed writer left beside it.

    The claim is a locked file beside the archive; it ends with the process, however that ends.

    Raises: DatasetError if another process is writing the archive; StorageError if the folder cannot be written.
    """
    path = dest.with_name(f".{dest.name}.lock")
    descriptor = _claimed(path, dest)
    try:
        for leftover in dest.parent.glob(f".{dest.name}.*.part"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _claimed(path: Path, dest: Path) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            told = f"'{path.parent}' cannot be written ({error.strerror}); choose another folder."
            raise StorageError(told) from error
        try:
            lock_file(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise DatasetError(f"another process is writing '{dest}'; wait for it, or choose another name.") from error
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last owner removed the file between our opening and locking it


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
