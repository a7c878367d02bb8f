"""The worker: one thread that owns the device, paints pictures in small batches, and does long jobs in between.

Pictures go before everything. Whatever waits when the thread is free is painted as one batch, so batches grow with the
load and nobody waits for a batch to fill. A long job (a film, a projection, a detection) runs on the same thread and
lets pictures pass after every step, and errands too: calls that need the network for a moment. The queues are bounded;
who finds them full is told when to come again.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from capriccio.studio.measures import Measures
from capriccio.studio.painting import Painted
from capriccio.studio.recipes import Order

BATCH_SECONDS = 0.25
"""How long a batch may take: whoever waits for its first picture waits for its last."""

_LOG = logging.getLogger("capriccio.studio")


class Full(Exception):
    """There is no place left, in a queue or for one client."""

    def __init__(self, why: str, retry_after: int) -> None:
        super().__init__(f"{why}; try again in {retry_after} s.")
        self.retry_after = retry_after


class JobCancelled(Exception):
    """A long job was asked to stop; raised inside it, out of the function it calls after every step."""


class LongJob(Protocol):
    """Work of many steps."""

    def run(self, breathe: Callable[[], None]) -> None:
        """Do the work and call ``breathe`` after every step; it raises JobCancelled. Errors are the job's to tell."""


class Painter(Protocol):
    """Turns orders into pictures, and pictures into files."""

    def paint(self, orders: Sequence[Order]) -> list[Painted]:
        """Paint a batch on the device; orders of one batch share their :attr:`Order.kind`."""
        ...


Waiting = tuple[Order, "Future[bytes]"]

_Result = TypeVar("_Result")


class Worker:
    """The thread and its queues.

    Args:
        painter: what paints.
        measures: what is counted.
        room: pictures that may wait.
        job_room: long jobs that may wait or run.
        batch: most pictures painted at once; fewer where so many would take long, for all of them come at its end.
        refill: asked for orders to paint ahead when no picture waits; each comes with a future of its own.
    """

    def __init__(
        self,
        painter: Painter,
        measures: Measures,
        *,
        room: int = 256,
        job_room: int = 8,
        batch: int = 32,
        refill: Callable[[int], list[Waiting]] = lambda count: [],
    ) -> None:
        self._painter, self._measures = painter, measures
        self.room, self.job_room, self.batch, self._refill = room, job_room, batch, refill
        self._pictures: deque[Waiting] = deque()
        self._errands: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._jobs: deque[LongJob] = deque()
        self._running: LongJob | None = None
        self._encoding = 0
        """Pictures that are painted and not yet a file."""
        self._seconds_per_picture = 0.02
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    # ---- asked from any thread

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Finish the pictures that wait, end the long jobs, and leave."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._encoder.shutdown(wait=True)

    @property
    def waiting(self) -> int:
        """Pictures that wait to be painted, or to be encoded."""
        return len(self._pictures) + self._encoding

    @property
    def batch_now(self) -> int:
        """How many pictures are painted at once at the speed of the last ones."""
        return max(1, min(self.batch, round(BATCH_SECONDS / self._seconds_per_picture)))

    @property
    def waiting_jobs(self) -> int:
        """Long jobs that wait or run."""
        return len(self._jobs) + (self._running is not None)

    @property
    def alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive() and not self._stopping

    def order(self, order: Order) -> Future[bytes]:
        """Queue a picture; cancelling the future frees its place. Raises: Full."""
        future: Future[bytes] = Future()
        with self._wake:
            if self.waiting >= self.room:
                self._pictures = deque(waiting for waiting in self._pictures if not waiting[1].cancelled())
            if self.waiting >= self.room or self._stopping:
                seconds = max(1, math.ceil(self.room * self._seconds_per_picture))
                raise Full("Too many pictures wait already", seconds)
            self._pictures.append((order, future))
            self._wake.notify()
        return future

    def errand(self, work: Callable[[], _Result]) -> Future[_Result]:
        """Queue a call that takes a moment; it is done on the thread that owns the device. Raises: Full."""
        future: Future[_Result] = Future()
        with self._wake:
            if len(self._errands) >= self.room or self._stopping:
                raise Full("Too many requests wait already", 1)
            self._errands.append((work, future))
            self._wake.notify()
        return future

    def begin(self, job: LongJob) -> None:
        """Queue a long job. Raises: Full."""
        with self._wake:
            if self.waiting_jobs >= self.job_room or self._stopping:
                raise Full("Too many films, projections and detections wait already", 30)
            self._jobs.append(job)
            self._wake.notify()

    def withdraw(self, job: LongJob) -> bool:
        """Take a job that has not begun out of the queue; return whether it was there."""
        with self._wake:
            if job in self._jobs:
                self._jobs.remove(job)
                return True
        return False

    def nudge(self) -> None:
        """Look whether something should be painted ahead."""
        with self._wake:
            self._wake.notify()

    # ---- on the thread

    def _work(self) -> None:
        while True:
            with self._wake:
                ahead: list[Waiting] = []
                while not (self._pictures or self._errands or self._jobs or self._stopping):
                    if ahead := self._refill(self.batch_now):
                        break
                    self._wake.wait()
                if self._stopping and not self._pictures and not self._errands:
                    return
                job = None
                if not self._pictures and not self._errands and not ahead and self._jobs:
                    job = self._running = self._jobs.popleft()
            if job is not None:
                self._do(job)
            elif ahead:
                self._paint(ahead)
            else:
                self._paint(self._take())
                self._run_errand()

    def _do(self, job: LongJob) -> None:
        try:
            job.run(self._breathe)
        except JobCancelled:
            pass
        except Exception:  # a job tells its own errors; this is a mistake in one, and others wait
            _LOG.exception("a long job failed")
        finally:
            with self._wake:
                self._running = None

    def _breathe(self) -> None:
        """Let pictures pass; called inside a long job after every step."""
        while self._pictures or self._errands:
            self._paint(self._take())
            self._run_errand()
        if self._stopping:
            raise JobCancelled

    def _take(self) -> list[Waiting]:
        """Take the next batch: as many as fit of the kind of the first."""
        with self._wake:
            taken: list[Waiting] = []
            passed: list[Waiting] = []
            most = self.batch_now
            while self._pictures and len(taken) < most:
                waiting = self._pictures.popleft()
                if taken and waiting[0].kind != taken[0][0].kind:
                    passed.append(waiting)
                elif not waiting[1].cancelled():  # and it can be until the picture is encoded
                    taken.append(waiting)
            self._pictures.extendleft(reversed(passed))
            return taken

    def _run_errand(self) -> None:
        with self._wake:
            if not self._errands:
                return
            work, future = self._errands.popleft()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

    def _paint(self, batch: list[Waiting]) -> None:
        if not batch:
            return
        began = time.monotonic()
        try:
            painted = self._painter.paint([order for order, _ in batch])
        except Exception as error:
            for _, future in batch:
                _settle(future, error)
            return
        took = (time.monotonic() - began) / len(batch)
        self._seconds_per_picture += 0.1 * (took - self._seconds_per_picture)
        self._measures.painted(len(batch), took * len(batch))
        with self._wake:
            self._encoding += len(batch)
        for picture, (_, future) in zip(painted, batch, strict=True):
            self._encoder.submit(self._encode, picture, future)

    # ---- on the encoder's thread

    def _encode(self, picture: Painted, future: Future[bytes]) -> None:
        outcome: bytes | Exception | None = None
        if future.set_running_or_notify_cancel():  # else its client left meanwhile
            try:
                outcome = picture.encode()
            except Exception as error:
                outcome = error
        with self._wake:
            self._encoding -= 1  # before its client hears of it, and orders the next one
        if outcome is not None:
            _settle(future, outcome)


def _settle(future: Future[bytes], outcome: bytes | Exception) -> None:
    try:
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:
        pass  # its client left while it was painted
