"""What became of every file that went in."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from capriccio.data.building.recipe import MAX_ENLARGE
from capriccio.durable import replacing
from capriccio.wording import counted

Status = Literal["kept", "duplicate", "unreadable", "not-an-image", "too-small", "dropped"]

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left out."""

    name: str
    """Relative to the source."""
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One input file."""

    file: str
    """Relative to its source; with the source's name before it where there are several."""
    status: Status
    reason: str = ""
    """Why it was left out; of kept files what was noticed, or nothing."""
    size: tuple[int, int] | None = None
    """(height, width) of the original, upright; None where it is not known."""
    duplicate_of: str | None = None
    """The file that it resembles."""
    flaws: tuple[str, ...] = ()
    """What was noticed, one word each: duplicate, flat, borders, text."""

    def to_dict(self) -> dict[str, Any]:
        """Return the entry in JSON types; what is not known is absent."""
        extra = {
            "size": list(self.size) if self.size else None,
            "duplicate_of": self.duplicate_of,
            "flaws": list(self.flaws),
        }
        return {"file": self.file, "status": self.status, "reason": self.reason} | {k: v for k, v in extra.items() if v}


@dataclass(frozen=True, slots=True)
class Example:
    """A small picture of a file, for a reader of the report."""

    file: str
    kind: str
    """Flaw or status that it is an example of."""
    picture: bytes
    """Encoded as JPEG."""
    twin: str | None
    """The file that it resembles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What became of the files of all sources."""

    dest: Path
    count: int
    """Pictures in the archive."""
    height: int
    width: int
    entries: tuple[Entry, ...] = ()
    """One per input file, in the order they were met."""
    examples: tuple[Example, ...] = ()
    """A few of each kind of flaw, for the page."""
    notes: tuple[str, ...] = ()
    """What a reader should know besides, one sentence each."""
    added: int | None = None
    """Pictures that were new, when an archive grew; None when it was built."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Files that were left out."""
        return tuple(Skipped(entry.file, entry.reason) for entry in self.entries if entry.status != "kept")

    @property
    def counts(self) -> dict[str, int]:
        """Files by status, the most frequent first."""
        return dict(Counter(entry.status for entry in self.entries).most_common())

    @property
    def flaws(self) -> dict[str, int]:
        """Kept files by what was noticed about them."""
        return dict(Counter(flaw for entry in self.entries if entry.status == "kept" for flaw in entry.flaws))

    def __str__(self) -> str:
        left_out = f", {counted(len(self.skipped), 'file')} left out" if self.skipped else ""
        grown = f", {self.added} of them new" if self.added is not None else ""
        return f"{counted(self.count, 'picture')} of {self.height}×{self.width} in '{self.dest}'{grown}{left_out}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report in JSON types."""
        return {
            "version": REPORT_VERSION,
            "dest": str(self.dest),
            "count": self.count,
            "added": self.added,
            "height": self.height,
            "width": self.width,
            "counts": self.counts,
            "flaws": self.flaws,
            "notes": list(self.notes),
            "files": [entry.to_dict() for entry in self.entries],
        }

    def save_json(self, path: Path) -> None:
        """Write the report. Raises: StorageError if it cannot be written."""
        with replacing(path) as file:
            file.write(json.dumps(self.to_dict(), ensure_ascii=False, indent=1).encode("utf-8", "surrogateescape"))


def why_nothing(sources: Sequence[str], entries: Sequence[Entry], size: tuple[int, int] | None = None) -> str:
    """Return one sentence that says why not a single picture of ``sources`` could be used, and what to do.

    ``size``: (height, width) that was asked for and may be asked for otherwise; None = it is settled.
    """
    where = ", ".join(f"'{source}'" for source in sources)
    if not entries:
        return f"{where} is empty: there is no picture in it."
    status, number = Counter(entry.status for entry in entries).most_common(1)[0]
    first = next(entry for entry in entries if entry.status == status)
    if number == len(entries):
        left_out = f"{'the only file was' if number == 1 else f'all {number} files were'} left out as '{status}'"
    else:
        left_out = f"all {len(entries)} files were left out, most ({number}) as '{status}'"
    told = f"{where} holds no usable picture: {left_out}; the first of these is '{first.file}': {first.reason}"
    return told + (_remedy(first.size, size) if status == "too-small" and first.size and size else "") + "."


def _remedy(found: tuple[int, int], asked: tuple[int, int]) -> str:
    """Return what to ask for instead so that a picture which is too small is large enough."""
    factor = max(asked[0] / found[0], asked[1] / found[1])
    height, width = (math.floor(side / factor + 1e-6) for side in asked)
    enlarge = math.ceil(factor * 100 - 1e-6) / 100
    told = f"; give --size {height if height == width else f'{height}x{width}'}"
    return told + (f", or to 'capriccio dataset build' --max-enlarge {enlarge:g}" if enlarge <= MAX_ENLARGE else "")
