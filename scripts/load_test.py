"""Load on a running server from outside: several processes, each with its share of clients that ask without pause.

    python scripts/load_test.py http://127.0.0.1:8000/picture --clients 32 --seconds 20
    python scripts/load_test.py 'http://127.0.0.1:8000/picture?seed={n}' --clients 16 --rate 60 --seconds 20

``{n}`` in the address is another number each time. Raw sockets and a handful of lines instead of an HTTP library: the
tool shares the processor with the server it measures. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit


async def _client(asked: argparse.Namespace, until: float, interval: float, found: list[tuple[int, float]]) -> None:
    place = urlsplit(asked.address.replace("{n}", "0"))
    reader = writer = None
    due = time.monotonic() + random.random() * interval
    while (now := time.monotonic()) < until:
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
        if status == 429:
            await asyncio.sleep(0.2)


async def _answer(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


def _process(asked: argparse.Namespace, clients: int, answers: Any) -> None:
    async def run() -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []
        until = time.monotonic() + asked.seconds
        interval = asked.clients / asked.rate if asked.rate else 0.0
        await asyncio.gather(*(_client(asked, until, interval, found) for _ in range(clients)))
        return found

    answers.put(asyncio.run(run()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=0, help="requests a second of all clients; 0 = without pause")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=30)
    parser.add_argument("--accept", default="image/webp")
    asked = parser.parse_args()
    answers: Any = multiprocessing.Queue()
    shares = [asked.clients // asked.processes + (i < asked.clients % asked.processes) for i in range(asked.processes)]
    workers = [multiprocessing.Process(target=_process, args=(asked, share, answers)) for share in shares]
    for worker in workers:
        worker.start()
    found = [entry for _ in workers for entry in answers.get()]
    for worker in workers:
        worker.join()
    good = sorted(seconds for status, seconds in found if status == 200)
    quantiles = {f"p{q}_ms": round(1000 * good[min(len(good) - 1, len(good) * q // 100)], 1) for q in (50, 90, 99)}
    print(json.dumps({
        "clients": asked.clients,
        "seconds": asked.seconds,
        "pictures_per_second": round(len(good) / asked.seconds, 1),
        "statuses": dict(Counter(status for status, _ in found)),
        **(quantiles if good else {}),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
