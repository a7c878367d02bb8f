"""The Hugging Face hub: a network from it, a folder with a network for it, and the folder to it.

Fetching and pushing need the extra ``hub``. The token is the one that ``hf auth login`` or HF_TOKEN left; none is ever
taken as an argument, where it would stay in the history of a shell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import ERROR
from pathlib import Path
from typing import Any

import torch

from capriccio.config import to_dict
from capriccio.durable import refuse_file, replacing
from capriccio.errors import JobError, SnapshotError, UsageError
from capriccio.interop.export import need_packages
from capriccio.interop.model_card import SAMPLES_FILE, model_card
from capriccio.ops.quantize import quantize
from capriccio.snapshots.snapshot import FORMAT_VERSION, Snapshot, StoredDtype, load_snapshot, save_snapshot

WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
"""Names the hub's programs look for; the weights are a snapshot."""

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", flags=re.ASCII)
_FILE_ENDINGS = (".safetensors", ".pkl", ".pt", ".pth", ".npz", ".onnx", ".zip")
_COMPARED_SEEDS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFolder:
    """What is pushed."""

    files: tuple[Path, ...]
    """Card, configuration, weights, samples."""
    difference: float | None
    """Largest difference of a picture to the network's before it was stored, in grey levels; None = none by design."""


def is_hub_id(text: str) -> bool:
    """Whether ``text`` has the form of the hub's names, ``owner/name`` or ``owner/name@revision``."""
    return bool(_REPO.fullmatch(text)) and not text.lower().endswith(_FILE_ENDINGS)


def fetch_snapshot(name: str) -> Path:
    """Return the snapshot of ``owner/name`` or ``owner/name@revision``, fetched into the hub's cache once.

    Raises: UsageError if the extra is missing; SnapshotError if there is no such model, or the machine is offline and
        has not fetched it before.
    """
    _need_hub(f"there is no file or folder '{name}'; as a name on the hub")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, _, revision = name.partition("@")
    try:
        with _quiet_hub():
            return Path(hf_hub_download(repo, WEIGHTS_FILE, revision=revision or None))
    except LocalEntryNotFoundError as error:
        raise SnapshotError(
            f"there is no file or folder '{name}', and the hub cannot be asked: this machine is offline, or its "
            "connection to the hub fails, and has not fetched that model before."
        ) from error
    except GatedRepoError as error:
        raise SnapshotError(f"'{name}' is gated: ask its owner for access, then 'hf auth login'.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise SnapshotError(
            f"there is no file or folder '{name}', and the hub has no such model; a private one needs 'hf auth login'."
        ) from error
    except EntryNotFoundError as error:
        raise SnapshotError(f"'{name}' is on the hub, without {WEIGHTS_FILE}: it is none of Capriccio's.") from error
    except _trouble() as error:
        raise SnapshotError(f"'{name}' could not be fetched from the hub ({_line(error)}).") from error


def write_hub_folder(
    snapshot: Snapshot,
    folder: Path,
    *,
    repo: str,
    dtype: StoredDtype = "float32",
    samples: tuple[bytes, str] | None = None,
    numbers: Sequence[Mapping[str, Any]] = (),
) -> HubFolder:
    """Write card, configuration, weights and samples, and read the weights back.

    Args:
        snapshot: the network.
        folder: new or empty, or with an earlier version.
        repo: where it will lie, "owner/name".
        dtype: precision of the file; the difference it makes is measured and stands in the card.
        samples: a WebP sheet, and what it shows.
        numbers: measured metrics with their protocols.

    Raises: UsageError for a folder of something else; StorageError if it cannot be written.
    """
    refuse_file(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / WEIGHTS_FILE).is_file():
        raise UsageError(f"'{folder}' holds other files; name a new or empty folder.")
    files = save_weights(snapshot, folder, dtype)
    stored = load_snapshot(folder / WEIGHTS_FILE)
    difference = None if dtype == "float32" else _difference(snapshot, stored)
    card = model_card(
        stored,
        repo=repo,
        stored=dtype,
        difference=difference,
        samples="" if samples is None else samples[1],
        numbers=numbers,
    )
    texts = {CARD_FILE: card.encode()} | ({SAMPLES_FILE: samples[0]} if samples is not None else {})
    for name, data in texts.items():
        with replacing(folder / name) as file:
            file.write(data)
    return HubFolder(files=(*files, *(folder / name for name in texts)), difference=difference)


def save_weights(snapshot: Snapshot, folder: Path, dtype: StoredDtype = "float32") -> tuple[Path, Path]:
    """Write the snapshot and its configuration under the names of the hub, and return the two files.

    Raises: StorageError if the folder cannot be written.
    """
    weights, config = folder / WEIGHTS_FILE, folder / CONFIG_FILE
    save_snapshot(weights, snapshot, dtype)
    discriminator = snapshot.discriminator
    values = {
        "model_type": "capriccio",
        "format_version": FORMAT_VERSION,
        "generator": to_dict(snapshot.generator.config),
        "discriminator": None if discriminator is None else to_dict(discriminator.config),
    }
    with replacing(config) as file:
        file.write(json.dumps(values, indent=2, sort_keys=True).encode())
    return weights, config


def push_folder(folder: HubFolder, repo: str, *, private: bool = False) -> str:
    """Upload a folder, one commit, and return its address; the repository is made when it is not there.

    Raises: UsageError if the extra is missing or ``repo`` is no name; JobError, in one line, if the machine is offline
        or the hub refuses.
    """
    _need_hub("pushing")
    check_repo(repo)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    home = folder.files[0].parent
    try:
        with _quiet_hub():
            made = api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=made.repo_id,
                folder_path=home,
                allow_patterns=[path.name for path in folder.files],
                commit_message="A Capriccio snapshot with its card",
            )
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        advice = " Log in with 'hf auth login', with a token that may write." if status in (401, 403) else ""
        raise JobError(f"the hub refused '{repo}' ({_line(error)}).{advice}") from error
    except _trouble() as error:
        raise JobError(
            f"the hub cannot be reached, is this machine offline? Nothing was pushed ({_line(error)})."
        ) from error
    return str(made)


def check_repo(repo: str) -> None:
    """Raise UsageError if ``repo`` is not of the form owner/name."""
    if not is_hub_id(repo) or "@" in repo:
        raise UsageError(f"--to: a place on the hub is OWNER/NAME, such as anna/landscapes, got '{repo}'.")


@torch.no_grad()
def _difference(snapshot: Snapshot, stored: Snapshot) -> float:
    """Return the largest difference in grey levels over pictures of the same latents."""
    config = snapshot.generator.config
    z = torch.randn(_COMPARED_SEEDS, config.z_dim, generator=torch.Generator().manual_seed(0))
    c = torch.eye(config.c_dim)[torch.arange(len(z)) % config.c_dim] if config.c_dim else None
    before, after = (quantize(s.generator(z, c)).int() for s in (snapshot, stored))
    return float((before - after).abs().max())


def _need_hub(what: str) -> None:
    try:
        need_packages("hub", "huggingface_hub")
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from error


def _trouble() -> tuple[type[Exception], ...]:
    """Return what the hub's client raises when something on the way fails; its transport differs by version."""
    from huggingface_hub import errors

    found = (OSError, ValueError, getattr(errors, "HTTPError", None))
    return tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception))


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")[:200]


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keep the client's remarks about its attempts from the terminal; what matters is in the error."""
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
