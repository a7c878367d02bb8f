"""Files that were just painted, for whoever asks for the same ones."""

from __future__ import annotations

import threading
from collections import OrderedDict


class Cache:
    """Files by entity tag, the ones asked for last, in bounded memory."""

    def __init__(self, max_bytes: int = 32 * 2**20) -> None:
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._max_bytes, self._bytes = max_bytes, 0
        self._lock = threading.Lock()

    def get(self, tag: str) -> bytes | None:
        """Return the file of ``tag`` if it is here."""
        with self._lock:
            if tag in self._files:
                self._files.move_to_end(tag)
            return self._files.get(tag)

    def put(self, tag: str, file: bytes) -> None:
        """Keep a file, and drop the ones that were asked for longest ago."""
        with self._lock:
            self._bytes += len(file) - len(self._files.pop(tag, b""))
            self._files[tag] = file
            while self._bytes > self._max_bytes:
                _, dropped = self._files.popitem(last=False)
                self._bytes -= len(dropped)
