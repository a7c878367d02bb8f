"""Jobs and latents in an SQLite file: readable after a restart, and by every server that is given the same file.

Each server keeps its own jobs alive by a sign every few seconds; one whose server gives no sign any more has failed.
The file is a convenience: what it cannot take is written to the log, and the job goes on in memory.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capriccio.errors import UsageError

_LOG = logging.getLogger("capriccio.studio")

BEAT_SECONDS = 2.0
"""Time between two signs of life."""

LOST_SECONDS = 15.0
"""A job that is not over has failed when its server gave no sign for so long."""

STORED_SECONDS = 24 * 3600.0
"""How long results are kept in the file."""

MAX_STORED_JOBS, MAX_STORED_LATENTS = 500, 2000
"""Most of each that are kept; the oldest go first."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, told TEXT NOT NULL, version INTEGER NOT NULL, over INTEGER NOT NULL, beat REAL NOT NULL,
  seen REAL NOT NULL, cancelled INTEGER NOT NULL DEFAULT 0, file BLOB, media_type TEXT, file_name TEXT);
CREATE TABLE IF NOT EXISTS latents (id TEXT PRIMARY KEY, file BLOB NOT NULL, used REAL NOT NULL);
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class JobView:
    """How a job stands."""

    told: dict[str, Any]
    """For the page."""
    version: int
    """Another number after every change."""
    over: bool
    """Whether nothing more will happen."""
    elsewhere: bool = False
    """Whether another server does it; then there are fewer news."""

    @property
    def state(self) -> str:
        """waiting, running, done, failed or cancelled."""
        return str(self.told["state"])


class JobFile:
    """The file; every method may be called from any thread.

    Raises: UsageError if it cannot be opened, or is something else.
    """

    def __init__(
        self, path: str | Path, *, beat_seconds: float = BEAT_SECONDS, lost_seconds: float = LOST_SECONDS
    ) -> None:
        self.beat_seconds, self._lost_seconds = beat_seconds, lost_seconds
        self._lock = threading.Lock()
        try:
            self._base = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            version = self._base.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, 1):
                raise UsageError(f"--jobs: '{path}' is of a later version of Capriccio ({version}); name another file.")
            self._base.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise UsageError(f"--jobs: '{path}' cannot be used as a table of jobs ({error}).") from error

    # ---- jobs

    def note(self, job_id: str, view: JobView, made: tuple[bytes, str, str] | None) -> None:
        """Write how a job stands, and what it made: file, media type, file name."""
        now = time.time()
        file, media_type, file_name = made or (None, None, None)
        with self._writing() as base:
            base.execute(
                "INSERT INTO jobs (id, told, version, over, beat, seen, file, media_type, file_name) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET told = excluded.told, "
                "version = excluded.version, over = excluded.over, beat = excluded.beat, file = excluded.file, "
                "media_type = excluded.media_type, file_name = excluded.file_name "
                "WHERE excluded.version >= jobs.version",  # threads may note in another order than things happened
                (job_id, json.dumps(view.told), view.version, view.over, now, now, file, media_type, file_name),
            )
            if view.over:
                base.execute("DELETE FROM jobs WHERE beat < ?", (now - STORED_SECONDS,))
                base.execute("DELETE FROM jobs WHERE over AND id NOT IN "
                             "(SELECT id FROM jobs ORDER BY beat DESC LIMIT ?)", (MAX_STORED_JOBS,))  # fmt: skip

    def look(self, job_id: str) -> JobView | None:
        """Return how a job of any server stands, and note that somebody looked."""
        now = time.time()
        with self._writing() as base:
            row = base.execute("SELECT told, version, over, beat FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row is None:
                return None
            if not row[2]:
                base.execute("UPDATE jobs SET seen = ? WHERE id = ?", (now, job_id))
            view = JobView(told=json.loads(row[0]), version=row[1], over=bool(row[2]), elsewhere=True)
            if not view.over and now - row[3] > self._lost_seconds:
                error = "The server that did this stopped in the middle; begin it again."
                view = replace(view, told=view.told | {"state": "failed", "error": error}, version=-1, over=True)
            return view
        return None

    def result(self, job_id: str) -> tuple[bytes, str, str] | None:
        """Return what a job made: file, media type, file name."""
        with self._writing() as base:
            row = base.execute("SELECT file, media_type, file_name FROM jobs WHERE id = ?", (job_id,)).fetchone()
            return (bytes(row[0]), str(row[1]), str(row[2])) if row and row[0] else None
        return None

    def ask_to_cancel(self, job_id: str) -> None:
        """Ask the server of a job to stop it."""
        with self._writing() as base:
            base.execute("UPDATE jobs SET cancelled = 1 WHERE id = ? AND NOT over", (job_id,))

    def beat(self, mine: Sequence[str]) -> list[tuple[str, bool, float]]:
        """Tell that the server of these jobs lives; return of each (id, to be cancelled, seconds nobody looked)."""
        now = time.time()
        found = []
        with self._writing() as base:
            for job_id in mine:
                base.execute("UPDATE jobs SET beat = ? WHERE id = ?", (now, job_id))
                row = base.execute("SELECT cancelled, seen FROM jobs WHERE id = ?", (job_id,)).fetchone()
                if row is not None:
                    found.append((job_id, bool(row[0]), now - row[1]))
        return found

    # ---- latents

    def put_latent(self, latent_id: str, file: bytes) -> None:
        """Keep a latent's file."""
        with self._writing() as base:
            base.execute("INSERT OR REPLACE INTO latents (id, file, used) VALUES (?, ?, ?)",
                         (latent_id, file, time.time()))  # fmt: skip
            base.execute("DELETE FROM latents WHERE id NOT IN (SELECT id FROM latents ORDER BY used DESC LIMIT ?)",
                         (MAX_STORED_LATENTS,))  # fmt: skip

    def latent(self, latent_id: str) -> bytes | None:
        """Return a latent's file, if it is there."""
        with self._writing() as base:
            row = base.execute("SELECT file FROM latents WHERE id = ?", (latent_id,)).fetchone()
            if row is None:
                return None
            base.execute("UPDATE latents SET used = ? WHERE id = ?", (time.time(), latent_id))
            return bytes(row[0])
        return None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread; what the file does not take costs a line in the log."""
        with self._lock:
            try:
                yield self._base
            except sqlite3.Error as error:
                _LOG.warning("the file of jobs: %s", error)
