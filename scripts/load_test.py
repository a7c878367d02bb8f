"""Load on a running server from outside: several processes, each with its share of clients that ask without pause.

    python scripts/load_test.py http://127.0.0.1:8000/picture --clients 32 --seconds 20
    python scripts/load_test.py 'http://127.0.0.1:8000/picture?seed={n}' --clients 16 --rate 60 --seconds 20
    python scripts/load_test.py http://127.0.0.1:8000/picture --clients 32 --requests 50000 --memory-of PID

``{n}`` in the address is another number each time. ``--memory-of`` tells the resident memory of a process, the
server's, at the start, after each quarter of the time, and at the end. Raw sockets and a handful of lines instead of an
HTTP library: the tool shares the processor with the server it measures. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


async def _client(asked: argparse.Namespace, until: float, interval: float, found: list[tuple[int, float]]) -> None:
    place = urlsplit(asked.address.replace("{n}", "0"))
    reader = writer = None
    due = time.monotonic() + random.random() * interval
    most = math.ceil(asked.requests / asked.clients) if asked.requests else sys.maxsize
    for _ in range(most):
        if (now := time.monotonic()) >= until:
            break
        if due > now:
            await asyncio.sleep(min(due - now, until - now))
            if time.monotonic() >= until:
                break
        due += interval
        parts = urlsplit(asked.address.replace("{n}", str(random.getrandbits(32))))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        began = time.monotonic()
        try:
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection(place.hostname, place.port)
            head = f"GET {target} HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: {asked.accept}\r\n\r\n"
            writer.write(head.encode())
            status = await asyncio.wait_for(_answer(reader), asked.timeout)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            status = 0
            if writer is not None:
                writer.close()
            writer = None
        found.append((status, time.monotonic() - began))
        if status in (0, 429):
            await asyncio.sleep(0.2)


async def _answer(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


def _process(asked: argparse.Namespace, clients: int, answers: Any) -> None:
    async def run() -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []
        until = time.monotonic() + (math.inf if asked.requests else asked.seconds)
        interval = asked.clients / asked.rate if asked.rate else 0.0
        await asyncio.gather(*(_client(asked, until, interval, found) for _ in range(clients)))
        return found

    answers.put(asyncio.run(run()))


class _Memory(threading.Thread):
    """Resident memory of a process, noted every half second."""

    def __init__(self, process: int | None) -> None:
        super().__init__(daemon=True)
        self._process, self._noted = process, list[float]()

    def run(self) -> None:
        while self._process is not None:
            self._note()
            time.sleep(0.5)

    def _note(self) -> None:
        pages = int(Path(f"/proc/{self._process}/statm").read_text().split()[1])
        self._noted.append(round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1))

    def quarters(self) -> list[float]:
        """Return megabytes at the start, after each quarter of the time, and now."""
        self._note()
        return [self._noted[(len(self._noted) - 1) * i // 4] for i in range(5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--requests", type=int, default=0, help="stop after so many, whatever --seconds says")
    parser.add_argument("--memory-of", type=int, metavar="PID", help="process whose memory is watched")
    parser.add_argument("--rate", type=float, default=0, help="requests a second of all clients; 0 = without pause")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=30)
    parser.add_argument("--accept", default="image/webp")
    asked = parser.parse_args()
    if asked.memory_of is not None and not Path(f"/proc/{asked.memory_of}/statm").exists():
        parser.error(f"--memory-of: there is no process {asked.memory_of}.")
    answers: Any = multiprocessing.Queue()
    shares = [asked.clients // asked.processes + (i < asked.clients % asked.processes) for i in range(asked.processes)]
    workers = [multiprocessing.Process(target=_process, args=(asked, share, answers)) for share in shares]
    began, memory = time.monotonic(), _Memory(asked.memory_of)
    memory.start()
    for worker in workers:
        worker.start()
    found = [entry for _ in workers for entry in answers.get()]
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - began if asked.requests else asked.seconds
    good = sorted(seconds for status, seconds in found if status == 200)
    print(json.dumps({
        "clients": asked.clients,
        "seconds": round(seconds, 1),
        "pictures_per_second": round(len(good) / seconds, 1),
        "statuses": dict(Counter(status for status, _ in found)),
        **({f"p{q}_ms": round(1000 * good[len(good) * q // 100], 1) for q in (50, 90, 99)} if good else {}),
        **({"memory_mb": memory.quarters()} if asked.memory_of else {}),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
