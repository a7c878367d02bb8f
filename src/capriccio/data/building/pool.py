"""Processes that prepare pictures, in order and never far ahead; one that dies takes one file with it."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, islice
from typing import IO, cast

from capriccio.data.building.items import Item
from capriccio.data.building.report import Entry
from capriccio.data.building.worker import Outcome, Task, prepare

_AHEAD_PER_WORKER = 4
_FEW = 16
"""So many files are prepared in this process: others take longer to start."""

_ALLOCATION = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""For glibc: keep freed memory instead of giving it back and fetching it again, page by page, with every picture."""

Prepared = Entry | tuple[Item, Outcome]
"""A file refused at sight, or one with what came of it."""


def prepare_all(found: Iterable[Item | Entry], task: Task, workers: int) -> Generator[Prepared, None, None]:
    """Yield what came of every file, in order.

    Args:
        found: files, and entries about files left out already, which are passed on.
        task: size and recipe.
        workers: processes; 0 = none but this one.
    """
    files = iter(found)
    first = list(islice(files, _FEW if workers else 0))
    if len(first) < _FEW:
        for item in chain(first, files):
            yield item if isinstance(item, Entry) else (item, prepare(item, task))
        return
    with _Workers(task, workers) as pool:
        yield from pool.prepare(chain(first, files))


def usable_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Worker:
    """One process running :func:`capriccio.data.building.worker.serve`."""

    def __init__(self, task: Task) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from capriccio.data.building.worker import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _ALLOCATION | {"PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C in a terminal is for the builder alone
        )
        self._input, self._output = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._send(task)

    def prepare(self, item: Item) -> Outcome:
        """Return what came of a file. Raises: OSError or EOFError if the process died of it."""
        self._send(item)
        return cast(Outcome, pickle.load(self._output))

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):  # what was still to be sent has nobody left to read it
            self._input.close()
        self._output.close()

    def _send(self, message: object) -> None:
        pickle.dump(message, self._input, protocol=pickle.HIGHEST_PROTOCOL)
        self._input.flush()


class _Workers:
    """A thread per process: it hands over a file and waits for the outcome."""

    def __init__(self, task: Task, count: int) -> None:
        self._task = task
        self._count = count
        self._all = [_Worker(task) for _ in range(count)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="prepare")
        self._stopped = False

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._all:
            worker.stop()
        self._threads.shutdown(wait=True)

    def prepare(self, found: Iterable[Item | Entry]) -> Iterator[Prepared]:
        """Yield what came of every file, in order; at most a few files per process are under way."""
        waiting: deque[tuple[Item, Future[Outcome]] | Entry] = deque()
        for item in found:
            waiting.append(item if isinstance(item, Entry) else (item, self._threads.submit(self._one, item)))
            if len(waiting) > self._count * _AHEAD_PER_WORKER:
                yield _finished(waiting.popleft())
        while waiting:
            yield _finished(waiting.popleft())

    def _one(self, item: Item) -> Outcome:
        worker = self._idle.get()
        try:
            return worker.prepare(item)
        except (OSError, EOFError, pickle.UnpicklingError):
            if self._stopped:
                raise
            worker.stop()
            self._all.remove(worker)
            worker = _Worker(self._task)
            self._all.append(worker)
            return Outcome(status="unreadable", reason="stopped the process that decoded it")
        finally:
            self._idle.put(worker)


def _finished(waiting: tuple[Item, Future[Outcome]] | Entry) -> Prepared:
    if isinstance(waiting, Entry):
        return waiting
    item, future = waiting
    return item, future.result()
