"""Pictures from a list of web addresses, fetched the way a guest behaves.

A few connections at a time and fewer to one host; robots.txt and the headers by which owners decline machine learning
are respected; a busy server is left alone for as long as it asks.
"""

from __future__ import annotations

import csv
import email.message
import email.utils
import http.client
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import urllib.robotparser
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from capriccio.data.building.items import HeldContent, Item
from capriccio.data.building.report import Entry
from capriccio.data.building.source_labels import LABEL_COLUMNS, parse_class
from capriccio.data.shards import TIMEOUT_SECONDS, USER_AGENT
from capriccio.errors import DatasetError

LIST_SUFFIXES = (".txt", ".csv", ".tsv")
"""How the name of a list of addresses ends."""

MAX_DOWNLOAD_BYTES = 1 << 27
"""A larger answer is refused while it comes."""

_OPT_OUT_WORDS = frozenset({"noai", "noimageai"})
_AGENT = USER_AGENT.split("/")[0]
_URL_COLUMNS = ("url", "address", "image_url", "link")
_LICENCE_COLUMNS = ("licence", "license")
_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How hard servers may be asked."""

    connections: int = 16
    """At the same time, to all hosts together."""
    per_host: int = 2
    """At the same time, to one host."""
    tries: int = 4
    """Of one address."""
    wait_seconds: float = 1.0
    """Before the second try; doubles with each, and grows to what the server asks for."""
    max_wait_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    """One line of a list."""

    url: str
    label: Any = None
    licence: str | None = None


class DeclinedError(Exception):
    """The owner does not want this file to be fetched or used by machines."""


class UrlListSource:
    """A text file with one address per line, or a CSV or TSV file with columns url, licence and label."""

    def __init__(self, path: Path, manners: Manners | None = None) -> None:
        self.path = path
        self.name = path.name
        self.manners = manners or Manners()
        self.addresses = read_addresses(path)
        self.names = [address.url for address in self.addresses]

    def __iter__(self) -> Iterator[Item | Entry]:
        """Yield every address in the order of the list, fetched a little ahead."""
        fetcher = Fetcher(self.manners)
        pool = ThreadPoolExecutor(self.manners.connections, thread_name_prefix="fetch")
        waiting: deque[tuple[Address, Future[bytes]]] = deque()
        try:
            for address in self.addresses:
                waiting.append((address, pool.submit(fetcher.fetch, address.url)))
                if len(waiting) > 2 * self.manners.connections:
                    yield _settled(*waiting.popleft())
            while waiting:
                yield _settled(*waiting.popleft())
        finally:
            fetcher.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def read_addresses(path: Path) -> list[Address]:
    """Read a list of addresses; empty lines and lines that begin with # are passed over.

    Raises: DatasetError naming a line that is no http(s) address, or a CSV file without a column for them.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DatasetError(f"'{path}' cannot be read as a list of addresses ({error}).") from error
    if path.suffix.lower() == ".txt":
        stripped = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
        found = [(number, Address(line)) for number, line in stripped if line and not line.startswith("#")]
    else:
        found = list(_rows(path, lines))
    for number, address in found:
        if not address.url.startswith(("http://", "https://")):
            raise DatasetError(f"'{path}': line {number} is no http or https address: '{address.url[:80]}'.")
    if not found:
        raise DatasetError(f"'{path}' lists no address.")
    return [address for _, address in found]


class Fetcher:
    """Fetches addresses; to be shared by threads."""

    def __init__(self, manners: Manners) -> None:
        self.stop = threading.Event()
        """Set, it ends all waiting."""
        self._manners = manners
        self._hosts: defaultdict[str, threading.Semaphore] = defaultdict(
            lambda: threading.Semaphore(self._manners.per_host)
        )
        self._robots: dict[str, urllib.robotparser.RobotFileParser] = {}
        self._lock = threading.Lock()
        self._opener = urllib.request.build_opener(_AskingRedirects(self))

    def fetch(self, url: str) -> bytes:
        """Return what lies at an address.

        Raises: DeclinedError if its owner does not want that; OSError or HTTPException if it cannot be had.
        """
        with self._host(url):
            self.ask_robots(url)
            return self._persistently(url, MAX_DOWNLOAD_BYTES)

    def ask_robots(self, url: str) -> None:
        """Raise DeclinedError if robots.txt of the host forbids the address to us or to everybody."""
        site = urllib.parse.urlsplit(url)
        origin = f"{site.scheme}://{site.netloc}"
        with self._lock:
            rules = self._robots.get(origin)
        if rules is None:
            rules = self._read_robots(origin)
            with self._lock:
                self._robots[origin] = rules
        if not rules.can_fetch(_AGENT, url):
            raise DeclinedError("robots.txt of its host forbids it")

    def _read_robots(self, origin: str) -> urllib.robotparser.RobotFileParser:
        """Return the rules of a host (RFC 9309): without rules all is allowed, with rules out of reach nothing."""
        rules = urllib.robotparser.RobotFileParser()
        try:
            rules.parse(self._persistently(f"{origin}/robots.txt", 1 << 19).decode("utf-8", "replace").splitlines())
        except urllib.error.HTTPError as error:
            rules.parse([] if 400 <= error.code < 500 and error.code != 429 else ["User-agent: *", "Disallow: /"])
        except (OSError, http.client.HTTPException):
            rules.parse(["User-agent: *", "Disallow: /"])
        return rules

    def _persistently(self, url: str, limit: int) -> bytes:
        wait = self._manners.wait_seconds
        for attempt in range(1, self._manners.tries + 1):
            try:
                return self._once(url, limit)
            except urllib.error.HTTPError as error:
                if error.code not in _BUSY or attempt == self._manners.tries:
                    raise
                pause = max(wait, _retry_after(error.headers))
                if pause > self._manners.max_wait_seconds:
                    raise
            except (OSError, http.client.HTTPException):
                if attempt == self._manners.tries:
                    raise
                pause = wait
            wait *= 2
            if self.stop.wait(pause):
                break
        raise InterruptedError("the build was stopped")

    def _once(self, url: str, limit: int) -> bytes:
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            refuse_declined(response.headers)
            data: bytes = response.read(limit + 1)
            if len(data) > limit:
                raise DeclinedError(f"is larger than {limit:,} bytes")
            if response.length:
                raise http.client.IncompleteRead(data, response.length)
            return data

    def _host(self, url: str) -> threading.Semaphore:
        with self._lock:
            return self._hosts[urllib.parse.urlsplit(url).netloc]


class _AskingRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only where the host that it leads to allows it."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Ask robots.txt of the new address first."""
        if not newurl.startswith(("http://", "https://")):
            raise DeclinedError("leads to an address that is neither http nor https")
        if not newurl.endswith("/robots.txt"):
            self._fetcher.ask_robots(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def refuse_declined(headers: http.client.HTTPMessage) -> None:
    """Raise DeclinedError if the headers of an answer decline its use for machine learning.

    ``X-Robots-Tag: noai`` or ``noimageai``, for all or for us by name, and ``TDM-Reservation: 1`` (a W3C community
    report).
    """
    for value in headers.get_all("X-Robots-Tag") or []:
        agent, colon, words = value.rpartition(":")
        if colon and agent.strip().lower() not in ("", "*", _AGENT):
            continue
        found = _OPT_OUT_WORDS & {word.strip().lower() for word in words.split(",")}
        if found:
            raise DeclinedError(f"its server declines machine learning (X-Robots-Tag: {', '.join(sorted(found))})")
    if any(value.strip() == "1" for value in headers.get_all("TDM-Reservation") or []):
        raise DeclinedError("its server reserves the right to text and data mining (TDM-Reservation: 1)")


def _rows(path: Path, lines: list[str]) -> Iterator[tuple[int, Address]]:
    rows = csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    columns = [column.strip().lower() for column in rows.fieldnames or ()]
    rows.fieldnames = columns

    def named(choice: tuple[str, ...]) -> str | None:
        return next((column for column in choice if column in columns), None)

    url, licence, label = named(_URL_COLUMNS), named(_LICENCE_COLUMNS), named(LABEL_COLUMNS)
    if url is None:
        raise DatasetError(
            f"'{path}': a list of addresses needs a column 'url' in its first line (a file with labels is --labels)."
        )
    for row in rows:
        yield (
            rows.line_num,
            Address(
                (row[url] or "").strip(),
                parse_class(row[label]) if label and row[label] else None,
                ((row[licence] or "").strip() or None) if licence else None,
            ),
        )


def _settled(address: Address, future: Future[bytes]) -> Item | Entry:
    try:
        return Item(address.url, HeldContent(future.result()), address.label, address.licence)
    except DeclinedError as error:
        return Entry(address.url, "dropped", str(error))
    except (OSError, http.client.HTTPException, ValueError) as error:
        told = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else str(error) or type(error).__name__
        return Entry(address.url, "unreadable", f"cannot be fetched ({told})")


def _retry_after(headers: email.message.Message) -> float:
    """Return how many seconds a server asks us to wait; 0 when it does not."""
    value = str(headers.get("Retry-After", ""))
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
