"""Progress of long work on standard error: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from capriccio.progress import Progress

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def shown_progress(about: str, *, if_any: bool = False) -> Iterator[Progress]:
    """Show how far the work called ``about`` is, with its rate and the time that is left.

    Work that ends within a moment leaves no line where there is no terminal. With ``if_any`` there may be nothing to
    do, and the bar waits for the first report.
    """
    if sys.stderr.isatty():
        with _bar(about, at_once=not if_any) as report:
            yield report
    else:
        yield _Lines(about)


def shown_measuring() -> AbstractContextManager[Progress]:
    """Show how far the curvature of a network is measured, which is done once, and not for those with an encoder."""
    return shown_progress("measuring the network's curvature, once", if_any=True)


@contextmanager
def _bar(about: str, *, at_once: bool) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    bars = Bars(*columns, console=Console(stderr=True), transient=True)
    task = bars.add_task(about, total=None, rate="")
    started = time.monotonic()

    def report(done: int, total: int) -> None:
        bars.start()
        rate = done / max(time.monotonic() - started, 1e-9)
        bars.update(task, completed=done, total=total, rate=f"{rate:.1f}/s")

    if at_once:
        bars.start()
    try:
        yield report
    finally:
        if bars.live.is_started:
            bars.stop()


class _Lines:
    """Plain lines, seldom enough for a log file."""

    def __init__(self, about: str) -> None:
        self._about = about
        self._started = self._told = time.monotonic()
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < self._done:  # the next part of the work
            self._started = self._told = now
        self._done = done
        if now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        rate = done / (now - self._started)
        left = f", {(total - done) / rate:.0f} s left" if rate else ""
        print(f"{self._about}: {done} of {total}, {rate:.1f}/s{left}", file=sys.stderr, flush=True)
