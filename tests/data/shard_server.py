"""Tar shards, and a web server on this machine that stalls, drops connections and refuses, as told."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(number: int, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    """Return a PNG of one colour and a little noise that belongs to ``number`` alone."""
    rng = np.random.default_rng(number)
    channels = len(mode)
    level = rng.integers(20, 236, channels)
    pixels = (level + rng.integers(-20, 20, (*size, channels))).clip(0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels.squeeze(), mode).save(data, "png")
    return data.getvalue()


def write_shard(path: Path, numbers: Sequence[int], *, classes: int = 0, **picture: object) -> Path:
    """Write a tar file with a picture for each number, with ``.cls`` files where there are classes."""
    with tarfile.open(path, "w") as archive:
        for number in numbers:
            members = {f"{number:06d}.png": encoded(number, **picture)}  # type: ignore[arg-type]
            if classes:
                members[f"{number:06d}.cls"] = str(number % classes).encode()
            for name, data in members.items():
                facts = tarfile.TarInfo(name)
                facts.size = len(data)
                archive.addfile(facts, io.BytesIO(data))
    return path


def write_shards(folder: Path, counts: Sequence[int], **options: object) -> str:
    """Write shards of these many pictures; return their names as one pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for i, count in enumerate(counts):
        write_shard(folder / f"set-{i:03d}.tar", range(first, first + count), **options)  # type: ignore[arg-type]
        first += count
    return f"{folder}/set-{{000..{len(counts) - 1:03d}}}.tar"


@dataclass
class Troubles:
    """What goes wrong, by the name of a shard; each number is used up by one request."""

    drop_after: dict[str, list[int]] = field(default_factory=dict)
    """Connections that are cut after so many bytes."""
    stall_after: dict[str, list[int]] = field(default_factory=dict)
    """Connections over which nothing comes for a while after so many bytes."""
    stall_seconds: float = 0.5
    refuse: set[str] = field(default_factory=set)
    """Shards that the server says it cannot give now (503)."""
    requests: list[str] = field(default_factory=list)
    """What was asked for."""


@contextmanager
def serving(folder: Path, troubles: Troubles) -> Iterator[str]:
    """Serve the files of ``folder``; yield the address."""
    ending = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.strip("/")
            troubles.requests.append(name)
            if name in troubles.refuse:
                self.send_error(503)
                return
            data = (folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if cuts := troubles.drop_after.get(name):
                self.wfile.write(data[: cuts.pop(0)])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            start = 0
            if stalls := troubles.stall_after.get(name):
                start = stalls.pop(0)
                self.wfile.write(data[:start])
                self.wfile.flush()
                ending.wait(troubles.stall_seconds)
            self.wfile.write(data[start:])

        def log_message(self, *words: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # the reader left
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
