"""``capriccio serve`` in a process of its own, for tests that need sockets and signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

READY_SECONDS = 180
"""How long a start may take where other work wants the processor too."""


class Server:
    """``capriccio serve`` in a process of its own."""

    def __init__(self, runs, *flags, key=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.runs, self.flags, self.key, self.url = runs, flags, key, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        words = ["serve", "--port", str(self.port), "--runs", str(self.runs), "--no-access-log", "--pool", "8"]
        words += self.flags
        self.process = subprocess.Popen(
            [sys.executable, "-m", "capriccio", *words],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", **({"CAPRICCIO_API_KEY": self.key} if self.key else {})},
        )
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                return
            assert self.process.poll() is None, "the server ended at once"
            time.sleep(0.1)
        self.process.kill()
        raise AssertionError("the server does not become ready")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)
