"""Files that are either whole or absent: written beside, flushed to disk, renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from capriccio.errors import StorageError, UsageError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears under ``path`` complete, when the block ends without error.

    Two processes that write the same path do not disturb each other: each has its own file beside it, and the last
    one renamed stays. Raises: StorageError when the disk is full or ``path`` cannot be written; UsageError if it is a
    folder.
    """
    _refuse_folder(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not mkstemp: its files are private, and the process's mask of file rights cannot be read without setting it.
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.part"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise StorageError(f"'{path.parent}' cannot be written ({error.strerror}); choose another folder.") from error
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            temporary.replace(path)  # closed before: Windows renames no open file
            sync_folder(path.parent)
        except OSError as error:
            raise StorageError(f"'{path}' could not be written ({error.strerror}).") from error
    except OSError as error:  # also of the block, which may be about another file
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise StorageError(f"'{path}' could not be written ({error.strerror}); free space or move it.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise before long work what :func:`replacing` would raise after it, as far as that can be known."""
    _refuse_folder(path)
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise StorageError(f"'{path.parent}' cannot be written; choose another place.")


def refuse_file(folder: Path) -> None:
    """Raise UsageError if a file stands where a folder is to be."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"'{folder}' is a file; name a folder.")


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"'{path}' is a folder; name a file.")


def lock_file(descriptor: int) -> None:
    """Lock an open file for this process until it is closed or the process ends. Raises: OSError if it is locked."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync_folder(folder: Path) -> None:
    """Flush the names in ``folder`` to disk, so that a rename survives a power cut."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
