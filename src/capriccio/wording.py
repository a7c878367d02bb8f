"""Words for people: numbers of things, durations, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def closest(word: str, known: Iterable[str], *, likeness: float = 0.5) -> str | None:
    """Return the known word nearest to ``word``; None when none is near.

    ``likeness``: of the nearest at least, 0…1; among many short words more is needed for a hint to be one.
    """
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)), None)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known word nearest to ``word``, or ``""`` when none is near."""
    close = closest(word, known)
    return f" Did you mean '{close}'?" if close is not None else ""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``"1 file"`` or ``"1,200 files"``: a number of ``noun``, or ``plural`` where an s is not enough."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Return a duration in words: ``1d 03h``, ``2h 05m``, ``4m 10s``, ``12s``."""
    s = max(0, round(seconds))
    if s < 60:
        return f"{s}s"
    if s < 3600:
        return f"{s // 60}m {s % 60:02d}s"
    if s < 86400:
        return f"{s // 3600}h {s // 60 % 60:02d}m"
    return f"{s // 86400}d {s // 3600 % 24:02d}h"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names with commas between them, the first ``most`` of many."""
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])])
