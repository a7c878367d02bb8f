"""Waiting for other threads."""

from __future__ import annotations

import time


def until(true, seconds=10):
    """Wait until ``true()``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert true()
