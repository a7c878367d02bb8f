"""Lists of addresses, against a server on this machine that has every kind of owner."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from capriccio.data import build_dataset
from capriccio.data.archive import open_files, read_index
from capriccio.data.building.report import Entry
from capriccio.data.building.urls import DeclinedError, Manners, UrlListSource, refuse_declined

from ..conftest import encoded, picture

FAST = Manners(wait_seconds=0.01, max_wait_seconds=2)


class Owner(BaseHTTPRequestHandler):
    """``/NUMBER.png`` is a picture; other names behave as they are called."""

    asked: Counter[str]
    agents: set[str]
    at_once = 0
    most_at_once = 0
    lock = threading.Lock()
    robots = b"User-agent: *\nDisallow: /private/\n"

    def do_GET(self):
        kind = type(self)
        with kind.lock:
            kind.asked[self.path] += 1
            kind.agents.add(self.headers["User-Agent"])
            kind.at_once += 1
            kind.most_at_once = max(kind.most_at_once, kind.at_once)
        time.sleep(0.02)
        with kind.lock:
            kind.at_once -= 1  # before the answer: whoever has it may ask again at once
        self.answer()

    def answer(self):
        headers = {}
        if self.path == "/robots.txt":
            return self.send(self.robots)
        if self.path == "/busy.png" and self.asked[self.path] < 3:
            return self.send(b"", 503, {"Retry-After": "0"})
        if self.path == "/never.png":
            return self.send(b"", 500)
        if self.path == "/gone.png":
            return self.send(b"", 404)
        if self.path == "/moved.png":
            return self.send(b"", 302, {"Location": "/private/1.png"})
        if self.path == "/noai.png":
            headers = {"X-Robots-Tag": "noindex, noimageai"}
        if self.path == "/reserved.png":
            headers = {"TDM-Reservation": "1"}
        if self.path == "/page.png":
            return self.send(b"<html>")
        return self.send(encoded(picture(hash(self.path) % 1000)), 200, headers)

    def send(self, body, status=200, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def owner():
    kind = type("OneOwner", (Owner,), {"asked": Counter(), "agents": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kind, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def settled(path, manners=FAST):
    return {(item.file if isinstance(item, Entry) else item.name).rpartition("/")[2]: item
            for item in UrlListSource(path, manners)}  # fmt: skip


def test_every_address_is_told_and_owners_are_respected(owner, tmp_path):
    kind, host = owner
    names = ["1", "busy", "never", "gone", "moved", "noai", "reserved", "private/2", "3"]
    (tmp_path / "list.txt").write_text("# mine\n\n" + "".join(f"{host}/{name}.png\n" for name in names))
    found = settled(tmp_path / "list.txt")
    assert list(found) == ["1.png", "busy.png", "never.png", "gone.png", "moved.png", "noai.png", "reserved.png",
                           "2.png", "3.png"]  # fmt: skip
    refused = {name: (item.status, item.reason) for name, item in found.items() if isinstance(item, Entry)}
    assert refused == {
        "never.png": ("unreadable", "cannot be fetched (HTTP 500)"),
        "gone.png": ("unreadable", "cannot be fetched (HTTP 404)"),
        "moved.png": ("dropped", "robots.txt of its host forbids it"),
        "noai.png": ("dropped", "its server declines machine learning (X-Robots-Tag: noimageai)"),
        "reserved.png": ("dropped", "its server reserves the right to text and data mining (TDM-Reservation: 1)"),
        "2.png": ("dropped", "robots.txt of its host forbids it"),
    }
    assert (kind.asked["/busy.png"], kind.asked["/never.png"], kind.asked["/gone.png"]) == (3, 4, 1)
    assert kind.asked["/private/1.png"] == kind.asked["/private/2.png"] == 0
    assert kind.asked["/robots.txt"] <= FAST.per_host
    assert all(agent.startswith("capriccio/") for agent in kind.agents)


def test_a_host_is_never_asked_by_more_than_a_few_at_once(owner, tmp_path):
    kind, host = owner
    (tmp_path / "list.txt").write_text("".join(f"{host}/{i}.png\n" for i in range(24)))
    assert len(settled(tmp_path / "list.txt", Manners(per_host=2))) == 24
    assert kind.most_at_once == 2


@pytest.mark.parametrize(("robots", "status"), [(b"User-agent: capriccio\nDisallow: /\n", "dropped"), (b"", "kept")])
def test_robots_txt_may_name_us(owner, tmp_path, robots, status):
    kind, host = owner
    kind.robots = robots
    (tmp_path / "list.txt").write_text(f"{host}/1.png\n")
    (item,) = settled(tmp_path / "list.txt").values()
    assert (item.status if isinstance(item, Entry) else "kept") == status


def test_a_table_brings_licences_and_classes_into_the_archive(owner, tmp_path):
    _, host = owner
    rows = [("1", "CC0-1.0", "sea"), ("2", "CC-BY-4.0", "forest"), ("page", "CC0-1.0", "sea"), ("3", "", "sea")]
    lines = [f"{host}/{name}.png,{licence},{label}" for name, licence, label in rows]
    (tmp_path / "list.csv").write_text("URL,Licence,Label\n" + "\n".join(lines) + "\n")
    report = build_dataset(tmp_path / "list.csv", tmp_path / "set.zip", size=(16, 16), licence="CC0-1.0", workers=0)
    index = read_index(open_files(report.dest))
    assert report.counts == {"kept": 3, "not-an-image": 1}
    assert [line.get("licence") for line in index["pictures"]] == [None, "CC-BY-4.0", None]
    assert index["class_names"] == ["forest", "sea"]
    assert [label for _, label in index["labels"]] == [1, 0, 1]


@pytest.mark.parametrize(
    ("value", "declined"),
    [("noai", True), ("noindex, NoImageAI", True), ("capriccio: noai", True), ("other: noai", False), ("all", False)],
)
def test_the_header_speaks_to_all_or_to_one(value, declined):
    headers = http.client.HTTPMessage()
    headers["X-Robots-Tag"] = value
    if declined:
        with pytest.raises(DeclinedError):
            refuse_declined(headers)
    else:
        refuse_declined(headers)
