"""How long one waits before anything happens: whole processes, started as a user starts them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

_TRIES = 3
_COMMANDS = {
    "help": [sys.executable, "-m", "capriccio", "--help"],
    "import": [sys.executable, "-c", "import capriccio"],
}


def startup_seconds() -> dict[str, float]:
    """Return the median seconds of ``capriccio --help`` and of ``import capriccio``, process included."""
    return {name: statistics.median(_seconds(command) for _ in range(_TRIES)) for name, command in _COMMANDS.items()}


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
