"""Long jobs of clients: films and projections. Each has an id nobody can guess, tells its progress, can be cancelled.

The table is this process's own. A job whose client no longer listens ends; finished ones are forgotten after a while.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from capriccio.errors import CapriccioError
from capriccio.studio.worker import JobCancelled, Worker

State = Literal["waiting", "running", "done", "failed", "cancelled"]

KEPT_SECONDS = 600.0
"""How long what a job made is kept."""

DESERTED_SECONDS = 60.0
"""How long a job goes on while nobody listens or asks."""

MAX_KEPT = 64
"""Most jobs remembered; the oldest finished ones go first."""

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

    def __init__(self, kind: str, work: Callable[[Tell], Outcome]) -> None:
        self.id = secrets.token_urlsafe(18)
        self.kind, self._work = kind, work
        self.state: State = "waiting"
        self.progress: dict[str, Any] = {}
        self.version = 0
        self.outcome: Outcome | None = None
        self.error = ""
        self.seen = self.ended = time.monotonic()
        self.cancelled = False

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled")

    def describe(self) -> dict[str, Any]:
        """Return what a page shows."""
        told: dict[str, Any] = {"id": self.id, "kind": self.kind, "state": self.state, "progress": self.progress}
        if self.error:
            told["error"] = self.error
        if self.outcome is not None:
            told |= {"outcome": self.outcome.facts, "has_file": bool(self.outcome.file)}
        return told

    def run(self, breathe: Callable[[], None]) -> None:
        """Do the work on the worker's thread."""

        def tell(progress: dict[str, Any]) -> None:
            self.progress = progress
            self.version += 1
            breathe()
            if self.cancelled or time.monotonic() - self.seen > DESERTED_SECONDS:
                raise JobCancelled

        if self.cancelled:
            self.end("cancelled")
            return
        self.state, self.version = "running", self.version + 1
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
        """Enter a state that is the last."""
        self.state, self.ended = state, time.monotonic()
        self.version += 1


class JobTable:
    """All jobs of this process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self.stopping = False

    def begin(self, kind: str, work: Callable[[Tell], Outcome]) -> Job:
        """Queue a job. Raises: Full."""
        job = Job(kind, work)
        self._worker.begin(job)
        with self._lock:
            self._forget()
            self._jobs[job.id] = job
        return job

    def get(self, job_id: str) -> Job | None:
        """Return the job of an id; asking keeps it alive."""
        with self._lock:
            self._forget()
            job = self._jobs.get(job_id)
        if job is not None:
            job.seen = time.monotonic()
        return job

    def cancel(self, job: Job) -> None:
        """Stop a job after the step it is at, or before its first."""
        job.cancelled = True
        if self._worker.withdraw(job):
            job.end("cancelled")

    def stop(self) -> None:
        """Cancel everything."""
        self.stopping = True
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            if not job.over:
                self.cancel(job)

    def _forget(self) -> None:
        now = time.monotonic()
        over = sorted((job for job in self._jobs.values() if job.over), key=lambda job: job.ended)
        surplus = len(self._jobs) - MAX_KEPT
        for place, job in enumerate(over):
            if place < surplus or now - job.ended > KEPT_SECONDS:
                del self._jobs[job.id]
