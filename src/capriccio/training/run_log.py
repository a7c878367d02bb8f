"""The files of a run folder that tell its story: log.txt, stats.jsonl and TensorBoard's events."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from capriccio.durable import replacing
from capriccio.errors import StorageError
from capriccio.run_layout import RunLayout


class EventWriter(Protocol):
    """The part of TensorBoard's writer that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, walltime: float | None = None) -> None:
        """Write one number."""
        ...

    def close(self) -> None:
        """Write what is pending."""
        ...


class RunLog:
    """The files of a run folder that tell its story: log.txt, stats.jsonl, TensorBoard events where installed.

    A full disk costs lines of the story, never the run.
    """

    def __init__(self, folder: Path | None, echo: Callable[[str], None]) -> None:
        """``folder`` None = a process that tells nothing."""
        self._folder = None if folder is None else RunLayout(folder)
        self._echo = echo
        self._events: EventWriter | None = None
        if folder is not None:
            self._events = _tensorboard(folder)

    def say(self, line: str) -> None:
        """Show a line and append it to log.txt."""
        if self._folder is None:
            return
        self._echo(line)
        with suppress(OSError), open(self._folder.log, "a", encoding="utf-8") as f:
            f.write(line + "\n")

    def statistics(self, values: Mapping[str, Any], *, nimg: int) -> None:
        """Append one line to stats.jsonl, numbers that are not finite as null, and the means to TensorBoard."""
        if self._folder is None:
            return
        with suppress(OSError), open(self._folder.statistics, "a", encoding="utf-8") as f:
            f.write(json.dumps(_finite(values), sort_keys=True, allow_nan=False) + "\n")
        with suppress(OSError):
            for name, value in values.items():
                if isinstance(value, dict) and self._events is not None:
                    self._events.add_scalar(name, value["mean"], nimg)

    def amend(self, values: Mapping[str, Any], *, nimg: int) -> None:
        """Add ``values``, found at ``nimg`` after the last tick was told, to that tick's line and to TensorBoard."""
        if self._folder is None:
            return
        path = self._folder.statistics
        with suppress(OSError, StorageError, ValueError):
            *earlier, last = _lines(path)
            amended = json.dumps(json.loads(last) | _finite(values), sort_keys=True, allow_nan=False)
            _write_lines(path, (*earlier, amended))
        with suppress(OSError):
            for name, value in values.items():
                if self._events is not None:
                    self._events.add_scalar(name, value["mean"], nimg)

    def trim(self, nimg: int) -> None:
        """Drop the ticks after ``nimg``, told by a session whose progress was lost: a resumed run tells them again."""
        path = None if self._folder is None else self._folder.statistics
        if path is None or not path.exists():
            return
        with suppress(OSError, StorageError):
            _write_lines(path, [line for line in _lines(path) if _nimg_of(line) <= nimg])

    def close(self) -> None:
        """Finish the TensorBoard events."""
        if self._events is not None:
            self._events.close()


def _finite(value: Any) -> Any:
    """Return JSON data with null for NaN and infinities, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with replacing(path) as file:
        file.write("".join(line + "\n" for line in lines).encode())


def _nimg_of(line: str) -> float:
    try:
        return float(json.loads(line)["nimg"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _tensorboard(folder: Path) -> EventWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    writer: EventWriter = SummaryWriter(folder)
    return writer
