"""The server as a process: clients that misbehave, signals, and memory over tens of thousands of requests."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from .process import Server

LOAD_TOOL = Path(__file__).resolve().parents[2] / "scripts" / "load_test.py"
SOAK_REQUESTS = 50_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("uvicorn", reason="the extra 'web' is not installed")
    started = Server(tmp_path_factory.mktemp("runs"))
    yield started
    if started.process.poll() is None:
        started.stop()


def load(server, address, **flags):
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    told = subprocess.run([sys.executable, LOAD_TOOL, server.url + address, *words], capture_output=True, check=True)
    return json.loads(told.stdout)


def resident(server):
    page = urllib.request.urlopen(f"{server.url}/metrics").read().decode()
    return int(re.search(r"^capriccio_resident_bytes (\d+)", page, re.MULTILINE)[1])


@pytest.mark.slow
def test_the_start_says_where_it_serves_and_in_which_precision(tmp_path):
    pytest.importorskip("uvicorn", reason="the extra 'web' is not installed")
    words = ["serve", "--port", "0", "--precision", "fp32", "--no-access-log"]
    started = subprocess.Popen([sys.executable, "-m", "capriccio", *words], stdout=subprocess.PIPE, text=True)
    try:
        lines = [started.stdout.readline() for _ in range(2)]
    finally:
        started.terminate()
        started.wait(60)
    assert "http://127.0.0.1:" in lines[0]
    assert lines[1] == "Pictures of a seed are painted in fp32, others in fp32 (as asked).\n"


@pytest.mark.slow
def test_headers_without_end_are_cut_off(server):
    with socket.create_connection(("127.0.0.1", server.port), 20) as client:
        client.sendall(b"GET /picture HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        with suppress(ConnectionError):
            for number in range(30_000):
                sent += client.send(b"X-%d: %s\r\n" % (number, b"a" * 1000))
    assert sent < 15_000_000  # what the sockets of both sides hold was on its way
    assert urllib.request.urlopen(f"{server.url}/healthz").status == 200


@pytest.mark.slow
def test_half_closed_and_broken_connections(server):
    for sent in (b"", b"GET /pic", b"GET /picture HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
                 b"\x00\xff" * 50,
                 b"POST /api/v1/detections HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
                 b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"):  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
    assert urllib.request.urlopen(f"{server.url}/picture?seed=1").status == 200


@pytest.mark.slow
@pytest.mark.parametrize("host", [b"localhost", b"not.our.name"])
def test_a_two_gigabyte_upload_of_unknown_length_is_cut_off(server, host):
    head = b"POST /api/v1/detections HTTP/1.1\r\nHost: " + host + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece, sent = b"100000\r\n" + b"x" * 2**20 + b"\r\n", 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head)
        with suppress(OSError):
            while sent < 2**31:
                connection.sendall(piece)
                sent += 2**20
    assert sent < 2**28
    assert urllib.request.urlopen(f"{server.url}/picture?seed=1").status == 200


@pytest.mark.slow
def test_five_hundred_clients_are_served_or_told(server):
    told = load(server, "/picture", clients=500, seconds=5)
    assert set(told["statuses"]) <= {"200", "429"}
    assert told["statuses"]["200"] > 50
    assert urllib.request.urlopen(f"{server.url}/readyz").status == 200


@pytest.mark.slow
def test_sigterm_finishes_what_runs(server):
    answers = []
    ask = threading.Thread(
        target=lambda: answers.append(urllib.request.urlopen(f"{server.url}/picture?seed=77&scale=8").status)
    )
    events = socket.create_connection(("127.0.0.1", server.port))  # an idle connection must not hold it
    ask.start()
    ask.join(10)
    assert server.stop(signal.SIGTERM) in (0, 143)
    assert answers == [200]
    events.close()
    server.start()


@pytest.mark.soak
def test_memory_is_flat_over_fifty_thousand_requests(server):
    load(server, "/picture", clients=32, requests=5000)
    warm = resident(server)
    told = load(server, "/picture", clients=32, requests=SOAK_REQUESTS)
    assert told["statuses"].keys() == {"200"}
    assert resident(server) < warm + 32 * 2**20
    load(server, "/picture?seed={n}", clients=32, requests=SOAK_REQUESTS // 4)  # until files of 32 MiB are kept
    full = resident(server)
    load(server, "/picture?seed={n}", clients=32, requests=SOAK_REQUESTS // 4)
    assert full < warm + 96 * 2**20
    assert resident(server) < full + 32 * 2**20
