"""What stands between the network and the routes: headers, size of bodies, key, rate, counting, the access log.

Plain ASGI, so that bodies stream through and a client that leaves is seen at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import time
from collections import Counter, OrderedDict
from http.cookies import CookieError, SimpleCookie
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from capriccio.studio import problems
from capriccio.studio.measures import Measures
from capriccio.studio.settings import StudioSettings

ACCESS = logging.getLogger("capriccio.access")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Content security policy of every answer that brings no other."""

COOKIE = "capriccio-key"

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "Content-Security-Policy": POLICY,
}
_CLOSING = {"Connection": "close"}
"""Goes with refusals of bodies that have not been read: nobody reads the rest."""

_LISTS = frozenset({"set"})
"""Parameters that may be there more than once."""

_MAX_CLIENTS = 10_000
_SMALL_BODY = 64 * 1024
"""Bodies up to this size need no place among the uploads."""


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp, settings: StudioSettings, measures: Measures) -> None:
        self._app, self._settings, self._measures = app, settings, measures
        self._rates = RateLimit(settings.rate_limit)
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 499

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        large = _has_large_body(scope)
        try:
            refusal = self._refusal(scope, large)
            if refusal is not None:
                if large:
                    refusal.headers.update(_CLOSING)
                await refusal(scope, receive, send_guarded)
                return
            self._uploads += large
            try:
                await self._app(scope, self._bounded(receive), send_guarded)
            finally:
                self._uploads -= large
        finally:
            seconds = time.monotonic() - began
            route = getattr(scope.get("route"), "path", "other")
            self._measures.answered(route, status, seconds)
            if self._settings.access_log:
                path = scope["path"].encode("unicode_escape").decode("ascii")[:200]
                ACCESS.info("%s %s %d %.0f ms", scope["method"], path, status, 1000 * seconds)

    def _bounded(self, receive: Receive) -> Receive:
        """Return ``receive`` that ends a body that is too large, or too slow in coming."""
        read, whole = 0, False
        due = time.monotonic() + self._settings.upload_timeout

        async def receive_bounded() -> Message:
            nonlocal read, whole
            if whole:  # waits for the client to leave, as long as that takes
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, due - time.monotonic()))
            except TimeoutError as error:
                told = f"The request took longer than {self._settings.upload_timeout:g} s to arrive."
                raise HTTPException(408, told, _CLOSING) from error
            whole = not message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > self._settings.max_upload_bytes:
                raise HTTPException(413, self._limit_told(), _CLOSING)
            return message

        return receive_bounded

    def _refusal(self, scope: Scope, large: bool) -> problems.ProblemResponse | None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18:
            return problems.respond(400, "Content-Length is no number.")
        if int(length) > self._settings.max_upload_bytes:
            return self._too_large()
        path = scope["path"]
        if path in ("/healthz", "/readyz"):
            return None
        if scope["method"] in ("POST", "DELETE") and headers.get("sec-fetch-site") == "cross-site":
            return problems.respond(403, "Another site's page may not ask this server to do things.")
        if not self._is_called(headers.get("host", "")):
            return problems.respond(421, "This server does not go by that name, but by its address or localhost; "
                                    "'capriccio serve --allowed-hosts NAME' adds a name.")  # fmt: skip
        wait = self._rates.wait(scope["client"][0] if scope.get("client") else "")
        if wait:
            return problems.respond(429, f"Too many requests from one client; try again in {wait} s.",
                                    {"Retry-After": str(wait)})  # fmt: skip
        if large and self._uploads >= self._settings.uploads:
            return problems.respond(429, "Too many uploads at once; try again in 2 s.", {"Retry-After": "2"})
        if repeated := _repeated(scope):
            return problems.respond(422, f"{repeated}: is there more than once, and only one can be meant.")
        key = self._settings.api_key
        if key is not None and _needs_key(path) and not _has_key(headers, key):
            return problems.respond(401, "This server asks for a key: 'Authorization: Bearer KEY'.",
                                    {"WWW-Authenticate": "Bearer"})  # fmt: skip
        return None

    def _is_called(self, host: str) -> bool:
        """Whether a Host header is one that this server goes by; a client that sends none is no browser."""
        allowed = self._settings.hosts
        if allowed is None or not host:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name.endswith(".localhost") or name in allowed:
            return True
        try:  # an address cannot be made to point elsewhere, as a name can
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def _too_large(self) -> problems.ProblemResponse:
        return problems.respond(413, self._limit_told(), _CLOSING)

    def _limit_told(self) -> str:
        limit = self._settings.max_upload_bytes
        return f"The request is larger than {limit:,} bytes, the most that is taken here."


class RateLimit:
    """A bucket of tokens for each client: ``rate`` a second in the long run, bursts of two seconds' worth or 20.

    Only the clients seen last are remembered, so that addresses cannot fill the memory.
    """

    def __init__(self, rate: float) -> None:
        self._rate, self._burst = rate, max(20.0, 2 * rate)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float | None = None) -> int:
        """Take a token; return 0, or the seconds until there is one."""
        if not self._rate:
            return 0
        now = time.monotonic() if now is None else now
        tokens, then = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        self._buckets[client] = (tokens - 1 if tokens >= 1 else tokens), now
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if tokens >= 1 else max(1, round((1 - tokens) / self._rate))


def _has_large_body(scope: Scope) -> bool:
    """Whether a body comes that takes memory; one of unknown length might."""
    headers = Headers(scope=scope)
    length = headers.get("content-length", "")
    return "transfer-encoding" in headers or (length.isdecimal() and int(length[:18]) > _SMALL_BODY)


def _repeated(scope: Scope) -> str:
    """Return the name of a parameter that is there more than once; empty = none is."""
    query = scope.get("query_string", b"").decode("latin-1")
    counts = Counter(part.partition("=")[0] for part in query.split("&"))
    return next((unquote(name)[:40] for name, count in counts.items() if name and count > 1 and name not in _LISTS), "")


def cookie_value(key: str) -> str:
    """Return what a browser keeps in place of the key."""
    return hmac.new(key.encode(), b"capriccio studio", hashlib.sha256).hexdigest()


def same(a: str, b: str) -> bool:
    """Whether two secrets are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(a.encode("utf-8", "replace"), b.encode("utf-8", "replace"))


def _needs_key(path: str) -> bool:
    return path.startswith(("/api/", "/picture", "/metrics")) and path != "/api/v1/key"


def _has_key(headers: Headers, key: str) -> bool:
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and same(given.strip(), key):
        return True
    try:
        kept = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return kept is not None and same(unquote(kept.value), cookie_value(key))
