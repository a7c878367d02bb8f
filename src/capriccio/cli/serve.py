"""``capriccio serve --model M``: the site and the studio."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from capriccio.cli.parser import DEVICE_HELP, MODEL_HELP, YES_NO, CommandParser, existing
from capriccio.errors import UsageError

if TYPE_CHECKING:
    from capriccio.loading.model import Model

_LEAVING_SECONDS = 30
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def run(argv: Sequence[str]) -> int:
    """Serve until told to stop."""
    asked = _parser().read(argv)
    if not 0 <= asked.port <= 65535:
        raise UsageError(f"--port must lie in 0..65535, got {asked.port}.")
    limits = (("batch", 1, 1024), ("queue", 1, 100_000), ("pool", 0, 100_000), ("rate_limit", 0, 1e6),
              ("jobs_per_client", 1, 1000))  # fmt: skip
    for flag, low, high in limits:
        if not low <= asked[flag] <= high:
            raise UsageError(f"--{flag.replace('_', '-')} must lie in {low}..{high:g}, got {asked[flag]}.")
    try:
        import uvicorn

        from capriccio.studio.app import create_app
    except ImportError as error:
        raise UsageError(f"serve needs the extra 'web': pip install 'capriccio[web]' ({error}).") from error
    from capriccio.studio.settings import StudioSettings

    settings = StudioSettings(
        psi=asked.psi,
        runs=None if asked.runs is None else existing(asked.runs, "--runs"),
        api_key=os.environ.get("CAPRICCIO_API_KEY") or None,
        hosts=_hosts(asked.allowed_hosts, asked.host),
        rate_limit=asked.rate_limit,
        room=asked.queue,
        batch=asked.batch,
        pool=asked.pool,
        jobs=None if asked.jobs is None else Path(asked.jobs),
        jobs_per_client=asked.jobs_per_client,
        access_log=asked.access_log,
    )
    listening = _listening(asked.host, asked.port)  # before a network is loaded: told at once if that cannot be
    model, fast, name, painted = _models(asked)
    app = create_app(model, fast=fast, name=name, settings=settings)
    _write_logs()
    config = uvicorn.Config(
        app, host=asked.host, port=asked.port, log_level="warning", access_log=False, backlog=2048,
        timeout_graceful_shutdown=_LEAVING_SECONDS, server_header=False, timeout_keep_alive=20,
        http="h11", h11_max_incomplete_event_size=32768,  # the faster parser has no bound for what a client says first
    )  # fmt: skip
    server = _server(config, app)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"Capriccio serves '{name}' at http://{shown}:{port}/ and the studio at http://{shown}:{port}/studio")
    print(painted)
    if asked.host not in _LOOPBACK and settings.api_key is None:
        print("Everybody who reaches this address may use it; set CAPRICCIO_API_KEY to ask for a key.", file=sys.stderr)
    sys.stdout.flush()
    server.run(sockets=[listening])
    return 0


def _hosts(names: str | None, host: str) -> tuple[str, ...] | None:
    """Return the names that browsers may use, for the settings.

    Unless told otherwise, a server that only this machine reaches and that asks for no key goes by no other name than
    localhost; any other is open to whoever reaches it, or has its key.
    """
    if names is None:
        return () if host in _LOOPBACK and not os.environ.get("CAPRICCIO_API_KEY") else None
    listed = tuple(name.strip().lower() for name in names.split(",") if name.strip())
    if wrong := next((name for name in listed if name != "*" and not _HOST.fullmatch(name)), None):
        raise UsageError(f"--allowed-hosts: '{wrong}' is no name of a host; write one like pictures.example.org.")
    return None if "*" in listed else (*listed, host.lower())


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises: UsageError if the address is not one of this machine, or is taken."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror or error}); choose another --port, or "
            "0 for any that is free."
        ) from error


_TRIED = 16
"""Pictures of a batch that both precisions paint at the start: enough to compare them, and large networks are slow."""


def _models(asked: Any) -> tuple[Model, Model | None, str, str]:
    """Return the model in float32, the one for pictures without a seed where it is another, its name, and a line that
    says in which precision pictures are painted, and why.
    """
    from capriccio.devices import choose_device, choose_precision
    from capriccio.loading.bundled import bundled_names
    from capriccio.loading.model import load

    model = load(asked.model, device=asked.device)
    fastest = choose_precision(asked.precision, choose_device(asked.device))
    fast = None if fastest.dtype is None else load(asked.model, device=asked.device, precision=fastest.name)
    reason = fastest.reason
    if fast is not None and asked.precision == "auto":
        from capriccio.studio.painting import faster

        low, fast = fast, faster(fast, model, min(asked.batch, _TRIED))
        reason = "measured to be faster here" if fast is low else f"{fastest.name} was measured to be slower here"
    name = bundled_names()[0] if asked.model is None else Path(asked.model).stem
    precision = "fp32" if fast in (None, model) else fastest.name
    return model, fast, name, f"Pictures of a seed are painted in fp32, others in {precision} ({reason})."


def _server(config: Any, app: Any) -> Any:
    """Return a server that tells the studio of a signal at once, so that open streams end."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.studio.stopping = True
            super().handle_exit(sig, frame)

    return Server(config)


def _write_logs() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name in ("capriccio.access", "capriccio.studio"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _parser() -> CommandParser:
    parser = CommandParser(
        "serve",
        "Serve pictures, and the studio for mixing, walking and watching runs. Needs the extra 'web'.",
        "[--model M] [--host 127.0.0.1] [--port 8000] [--runs DIR] [flags]",
    )
    flag = parser.add_argument
    flag("-m", "--model", type=str | None, default=None, help=MODEL_HELP)
    flag("--host", type=str, default="127.0.0.1", help="Address to listen at; 0.0.0.0 = all of this machine's.")
    flag(
        "--allowed-hosts", type=str | None, default=None,
        help="Names by which browsers may reach the server, separated by commas; addresses and localhost always may, "
        "* = any. null = no name where only this machine reaches it and CAPRICCIO_API_KEY is not set, else any.",
    )  # fmt: skip
    flag("--port", type=int, default=8000, help="Port to listen at; 0 = any that is free.")
    flag("--runs", type=str | None, default=None, help="Folder of training runs that the studio shows, or one run.")
    flag("--psi", type=float, default=0.7, help="Truncation of pictures that ask for none.")
    flag("--device", type=str, default="auto", help=DEVICE_HELP)
    flag(
        "--precision", type=str, default="auto",
        help="Of pictures without a seed: auto, fp32, bf16, fp16. Pictures of a seed are always painted in fp32.",
    )  # fmt: skip
    flag("--batch", type=int, default=32, help="At most this many pictures at once.")
    flag("--queue", type=int, default=128, help="At most this many waiting pictures; more are refused with 429.")
    flag("--pool", type=int, default=64, help="Random pictures kept ready.")
    flag(
        "--jobs", type=str | None, default=None,
        help="SQLite file for films, projections and latents: they outlive a restart, and servers may share it. "
        "null = kept in memory.",
    )  # fmt: skip
    flag(
        "--jobs-per-client",
        type=int,
        default=3,
        help="Films, projections and detections of one client that wait or run.",
    )
    flag("--rate-limit", type=float, default=0.0, help="Requests a second of one client; 0 = any number.")
    flag("--access-log", action=YES_NO, default=True, help="Write a line for every answer to standard error.")
    return parser
