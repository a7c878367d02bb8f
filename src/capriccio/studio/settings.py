"""How a server is set up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioSettings:
    """Limits and places; the command line has a flag for each that people change."""

    psi: float = 0.7
    """Truncation of pictures that ask for none."""
    runs: Path | None = None
    """Folder whose training runs are shown; None = none are."""
    api_key: str | None = None
    """Key that pictures and the API ask for; None = open."""
    hosts: tuple[str, ...] | None = None
    """Names, in small letters, by which browsers may reach the server beside localhost and addresses; None = any name.
    Without this a page of another site can have its own name point here and read what a local server shows."""
    rate_limit: float = 0.0
    """Requests a second that one client may make in the long run; 0 = as many as it likes."""
    room: int = 128
    """Pictures that may wait; more are refused with 429."""
    job_room: int = 8
    """Films, projections and detections that may wait or run."""
    jobs_per_client: int = 3
    """Films, projections and detections that one client may have waiting or running; more are refused with 429."""
    jobs: Path | None = None
    """SQLite file that keeps jobs and latents; None = they are kept in memory, and end with the process."""
    batch: int = 32
    """Most pictures painted at once."""
    pool: int = 64
    """Random pictures kept ready."""
    timeout: float = 15.0
    """Seconds a picture may take before its client is told to come again."""
    max_upload_bytes: int = 16 * 2**20
    """Largest body of a request."""
    uploads: int = 4
    """Requests with a large body that are taken at once; more are refused with 429."""
    upload_timeout: float = 30.0
    """Seconds a body may take to arrive."""
    access_log: bool = True
    """Write a line for every answer: address, status and time, never what a picture shows."""
