"""The frozen reference discriminator of a data set: one ruler for all snapshots, runs and ablations."""

from __future__ import annotations

from pathlib import Path

import torch

from capriccio.data.cache import cache_folder
from capriccio.errors import SnapshotError
from capriccio.interop.foreign import read_network
from capriccio.loading.bundled import bundled_names, bundled_path
from capriccio.loading.model import find_snapshot
from capriccio.networks.discriminator import Discriminator
from capriccio.snapshots.snapshot import load_snapshot, read_header, save_snapshot


def reference_discriminator(
    data_hash: str,
    given: str | Path | None = None,
    *,
    cache_dir: Path | None = None,
    device: torch.device | str = "cpu",
) -> Discriminator | None:
    """Return the reference discriminator of the data set with ``data_hash``.

    A network that is ``given`` is used, also one of another program; the first one given for a data set is kept in
    the cache and is its ruler from then on. Without one, the kept one is used, else that of a bundled model that was
    trained on this very data set.

    Returns: None if there is none of these.
    Raises: SnapshotError if ``given`` is no snapshot or has no discriminator.
    """
    kept = cache_folder(cache_dir) / "references" / f"{data_hash[:32]}.safetensors"
    if given is not None:
        path = find_snapshot(given)
        snapshot = read_network(path, device)
        if snapshot.discriminator is None:
            raise SnapshotError(f"--reference '{path}' has no discriminator (it is slim); name the full snapshot.")
        if not kept.exists():
            save_snapshot(kept, snapshot)
        return snapshot.discriminator
    if kept.exists():
        return load_snapshot(kept, device).discriminator
    for name in bundled_names():
        if read_header(bundled_path(name))["data"].get("hash") == data_hash:
            return load_snapshot(bundled_path(name), device).discriminator
    return None
