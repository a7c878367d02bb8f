"""Long jobs of clients: films, projections and detections. Each has an id nobody can guess, tells its progress, and can
be cancelled.

The table is this process's own, and may be backed by a file (:mod:`capriccio.studio.job_file`) that outlives it and
that several servers share. A job whose client no longer listens ends; finished ones are forgotten after a while.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from capriccio.errors import CapriccioError
from capriccio.studio.job_file import JobFile, JobView
from capriccio.studio.worker import Full, JobCancelled, Worker

State = Literal["waiting", "running", "done", "failed", "cancelled"]

OVER: tuple[State, ...] = ("done", "failed", "cancelled")
"""States that are the last."""

REMEMBERED_SECONDS = 600.0
"""How long what a job made is kept in memory."""

DESERTED_SECONDS = 60.0
"""How long a job goes on while nobody listens or asks."""

MAX_REMEMBERED = 64
"""Most jobs remembered; the oldest finished ones go first."""

TOLD_EVERY = 0.25
"""Seconds between two notes of a job's progress in the file."""

LEFT = "The server stopped in the middle of this; begin it again."

Tell = Callable[[dict[str, Any]], None]
"""Called inside a job after every step with what should be shown; it raises JobCancelled when the job should stop."""


@dataclass
class Outcome:
    """What a job made."""

    facts: dict[str, Any] = field(default_factory=dict)
    """For the page."""
    file: bytes = b""
    """To be downloaded."""
    media_type: str = "application/octet-stream"
    file_name: str = ""


class Job:
    """One job; read from any thread."""

    def __init__(self, kind: str, client: str, work: Callable[[Tell], Outcome]) -> None:
        self.id = secrets.token_urlsafe(18)
        self.kind, self.client, self._work = kind, client, work
        self.state: State = "waiting"
        self.progress: dict[str, Any] = {}
        self.version = 0
        self.outcome: Outcome | None = None
        self.error = ""
        self.seen = self.ended = time.monotonic()
        self.cancelled = False
        self.changed: Callable[[Job], None] = lambda job: None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in OVER

    def view(self) -> JobView:
        """Return what a page shows."""
        told: dict[str, Any] = {"id": self.id, "kind": self.kind, "state": self.state, "progress": self.progress}
        if self.error and self.over:
            told["error"] = self.error
        if self.outcome is not None:
            told |= {"outcome": self.outcome.facts, "has_file": bool(self.outcome.file)}
        return JobView(told=told, version=self.version, over=self.over)

    def run(self, breathe: Callable[[], None]) -> None:
        """Do the work on the worker's thread."""

        def tell(progress: dict[str, Any]) -> None:
            self.progress = progress
            self._step()
            breathe()
            if self.cancelled or time.monotonic() - self.seen > DESERTED_SECONDS:
                raise JobCancelled

        if self.cancelled:
            self.end("cancelled")
            return
        self.state = "running"
        self._step()
        try:
            self.outcome = self._work(tell)
        except JobCancelled:
            self.end("cancelled")
            raise
        except CapriccioError as error:
            self.error = str(error)
            self.end("failed")
        except Exception:
            self.error = "A mistake in the program; the server's log tells more."
            self.end("failed")
            raise
        else:
            self.end("done")

    def end(self, state: State) -> None:
        """Enter a state that is the last; what a leaving server cancels has failed."""
        self.state, self.ended = "failed" if state == "cancelled" and self.error else state, time.monotonic()
        self._step()

    def _step(self) -> None:
        self.version += 1
        self.changed(self)


class JobTable:
    """All jobs of this process, and through the file those of other ones.

    Args:
        worker: does the work.
        file: keeps jobs beyond this process; None = nothing does.
        per_client: jobs that one client may have waiting or running.
    """

    def __init__(self, worker: Worker, file: JobFile | None = None, per_client: int = 3) -> None:
        self._worker, self._file, self._per_client = worker, file, per_client
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}
        if file is not None:
            threading.Thread(target=self._keep_signs, name="jobs", daemon=True).start()

    def begin(self, kind: str, client: str, work: Callable[[Tell], Outcome]) -> Job:
        """Queue a job. Raises: Full."""
        job = Job(kind, client, work)
        job.changed = self._note
        with self._lock:
            self._forget()
            under_way = sum(not other.over and other.client == client for other in self._jobs.values())
            if under_way >= self._per_client:
                raise Full(f"{under_way} of your films, projections and detections are under way, the most for one "
                           "client; wait for one, or cancel it", 10)  # fmt: skip
            self._jobs[job.id] = job
        try:
            self._worker.begin(job)
        except Full:
            with self._lock:
                self._jobs.pop(job.id, None)
            raise
        self._note(job)
        return job

    def look(self, job_id: str) -> JobView | None:
        """Return how the job of an id stands; asking keeps it alive."""
        with self._lock:
            self._forget()
            job = self._jobs.get(job_id)
        if job is not None:
            job.seen = time.monotonic()
            return job.view()
        return None if self._file is None else self._file.look(job_id)

    def outcome(self, job_id: str) -> Outcome | None:
        """Return what a job made: None if it made no file, or is not known."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is not None:
            return job.outcome if job.outcome is not None and job.outcome.file else None
        found = None if self._file is None else self._file.result(job_id)
        return None if found is None else Outcome({}, *found)

    def cancel(self, job_id: str) -> None:
        """Stop a job after the step it is at, or before its first; whoever does it."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is not None:
            self._cancel(job)
        elif self._file is not None:
            self._file.ask_to_cancel(job_id)

    def stop(self) -> None:
        """Cancel everything: the server leaves."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            if not job.over:
                job.error = LEFT
                self._cancel(job)

    def _cancel(self, job: Job) -> None:
        job.cancelled = True
        if self._worker.withdraw(job):
            job.end("cancelled")

    def _forget(self) -> None:
        now = time.monotonic()
        over = sorted((job for job in self._jobs.values() if job.over), key=lambda job: job.ended)
        surplus = len(self._jobs) - MAX_REMEMBERED
        for place, job in enumerate(over):
            if place < surplus or now - job.ended > REMEMBERED_SECONDS:
                del self._jobs[job.id]
                self._noted.pop(job.id, None)

    # ---- the file

    def _note(self, job: Job) -> None:
        """Write down how a job stands: its end at once, its progress now and then."""
        now = time.monotonic()
        if self._file is None or (not job.over and now - self._noted.get(job.id, -1.0) < TOLD_EVERY):
            return
        self._noted[job.id] = now
        made = job.outcome
        self._file.note(job.id, job.view(), (made.file, made.media_type, made.file_name) if made else None)

    def _keep_signs(self) -> None:
        """Tell the file that this process lives, and take from it what others ask of its jobs."""
        assert self._file is not None
        while True:
            time.sleep(self._file.beat_seconds)
            with self._lock:
                mine = [job for job in self._jobs.values() if not job.over]
            for job_id, cancelled, unseen in self._file.beat([job.id for job in mine]):
                for job in (one for one in mine if one.id == job_id):
                    job.seen = max(job.seen, time.monotonic() - unseen)
                    if cancelled:
                        self._cancel(job)
