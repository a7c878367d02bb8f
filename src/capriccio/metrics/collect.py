"""Pictures through feature networks: moments and features, shared by processes, cached for data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from capriccio.data.cache import cache_folder
from capriccio.durable import replacing
from capriccio.errors import JobError, StorageError
from capriccio.metrics.moments import Moments, MomentSums
from capriccio.metrics.pictures import BLOCK, PictureSource, Reals, num_blocks
from capriccio.perception.inception import InceptionFeatures
from capriccio.perception.protocols import FeatureNetwork
from capriccio.processes import Processes
from capriccio.progress import Progress

_CACHE_VERSION = 1
_KEY = "protocol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is needed of the features of one network."""

    moments: frozenset[int] = frozenset()
    """Moments of the first n pictures, for each n."""
    rows: int = 0
    """Features of this many first pictures; 0 = none."""
    probabilities: int = 0
    """Class probabilities of this many first pictures; 0 = none."""

    def __or__(self, other: Wanted) -> Wanted:
        return Wanted(
            moments=self.moments | other.moments,
            rows=max(self.rows, other.rows),
            probabilities=max(self.probabilities, other.probabilities),
        )

    @property
    def count(self) -> int:
        """Pictures that must be looked at."""
        return max(self.rows, self.probabilities, *self.moments, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What was found, the same on every process."""

    moments: dict[int, Moments]
    features: Tensor | None
    """[rows, d], float32; None = not wanted."""
    probabilities: Tensor | None
    """[n, classes], float32; None = not wanted."""


def collect(
    pictures: PictureSource,
    networks: Mapping[str, FeatureNetwork],
    wanted: Mapping[str, Wanted],
    processes: Processes,
    progress: Progress | None = None,
) -> dict[str, Collected]:
    """Show every picture once to every network.

    Blocks are shared out over processes and the results summed, so that N processes find what one would have found.

    Args:
        pictures: what to look at.
        networks: feature networks by name.
        wanted: what is needed of each of them.
        processes: that share the work.
        progress: called with (done, total) pictures of this process.

    Raises: JobError if features are not finite.
    """
    gathering = {name: _Gathering(network, wanted[name]) for name, network in networks.items()}
    count = min(max(w.count for w in wanted.values()), len(pictures))
    mine = range(processes.rank, num_blocks(count), processes.world_size)
    for done, index in enumerate(mine, start=1):
        pixels = pictures.block(index)
        for part in gathering.values():
            part.look(pixels, index * BLOCK)
        if progress is not None:
            progress(min(done * BLOCK * processes.world_size, count), count)
    return {name: part.over(processes) for name, part in gathering.items()}


class _Gathering:
    """What one network has seen so far on this process."""

    def __init__(self, network: FeatureNetwork, wanted: Wanted) -> None:
        self._network = network
        self._wanted = wanted
        d = network.num_features
        self._sums = {n: MomentSums(d) for n in wanted.moments}
        self._features = torch.zeros(wanted.rows, d)
        self._probabilities: Tensor | None = None

    def look(self, pixels: Tensor, start: int) -> None:
        """Take in pictures ``start`` …; those beyond what is wanted are left out."""
        pixels = pixels[: max(self._wanted.count - start, 0)]
        if not len(pixels):
            return
        if self._wanted.probabilities:
            assert isinstance(self._network, InceptionFeatures)
            found, probabilities = self._network.features_and_probabilities(pixels)
            self._keep_probabilities(probabilities.cpu(), start)
        else:
            found = self._network.features(pixels)
        features = found.float().cpu()
        if not bool(torch.isfinite(features).all()):
            raise JobError(f"'{self._network.card.name}' gives features that are not finite; its weights are damaged.")
        for n, sums in self._sums.items():
            if start < n:
                sums.add(features[: n - start])
        rows = features[: max(self._wanted.rows - start, 0)]
        self._features[start : start + len(rows)] = rows

    def over(self, processes: Processes) -> Collected:
        """Return the sums over all processes; each has zeros where another looked."""
        moments = {}
        for n, sums in sorted(self._sums.items()):
            m = sums.moments()
            total, products = processes.sum(m.total), processes.sum(m.products)
            moments[n] = Moments(int(processes.sum(torch.tensor(m.count))), total, products)
        probabilities = self._probabilities
        return Collected(
            moments=moments,
            features=processes.sum(self._features) if self._wanted.rows else None,
            probabilities=None if probabilities is None else processes.sum(probabilities),
        )

    def _keep_probabilities(self, probabilities: Tensor, start: int) -> None:
        if self._probabilities is None:
            self._probabilities = torch.zeros(self._wanted.probabilities, probabilities.shape[1])
        rows = probabilities[: max(self._wanted.probabilities - start, 0)]
        self._probabilities[start : start + len(rows)] = rows


# ---- features of data sets, kept -------------------------------------------------------------------------------------


def collect_reals(
    reals: Reals,
    networks: Mapping[str, FeatureNetwork],
    wanted: Mapping[str, Wanted],
    processes: Processes,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Collected]:
    """As :func:`collect`, from the cache where the very same pictures went through the very same network before.

    What comes from the cache is there on the main process alone, which is the one that computes with it.
    """
    folder = cache_folder(cache_dir) / "features"
    found: dict[str, Collected] = {}
    if processes.is_main:
        for name, network in networks.items():
            kept = _cached(folder, _protocol(reals, network, wanted[name]), wanted[name])
            if kept is not None:
                found[name] = kept
    known = processes.share(list(found))
    assert isinstance(known, list)
    missing = {name: network for name, network in networks.items() if name not in known}
    if missing:
        fresh = collect(reals, missing, {name: wanted[name] for name in missing}, processes, progress)
        if processes.is_main:
            for name, network in missing.items():
                _keep(folder, _protocol(reals, network, wanted[name]), fresh[name])
        found |= fresh
    return found


def _protocol(reals: Reals, network: FeatureNetwork, wanted: Wanted) -> str:
    """Return everything that decides these features, as text."""
    card, data = network.card, reals.dataset.card
    facts: dict[str, Any] = {
        "version": _CACHE_VERSION,
        "network": [card.name, card.weights, card.preprocessing],
        "data": [data.hash, data.total, data.mirror, len(reals)],
        "size": list(reals.size),
        "filter": reals.filter_used,
        "wanted": [sorted(wanted.moments), wanted.rows],
        "block": BLOCK,
    }
    return json.dumps(facts, sort_keys=True)


def _path(folder: Path, protocol: str) -> Path:
    return folder / f"{hashlib.sha256(protocol.encode()).hexdigest()[:32]}.safetensors"


def _cached(folder: Path, protocol: str, wanted: Wanted) -> Collected | None:
    """Return what is kept under ``protocol``; None if there is nothing, or it is damaged or of another protocol."""
    try:
        with safe_open(_path(folder, protocol), "pt") as file:
            if (file.metadata() or {}).get(_KEY) != protocol:
                return None
            moments = {
                n: Moments(n, file.get_tensor(f"total.{n}"), file.get_tensor(f"products.{n}")) for n in wanted.moments
            }
            features = file.get_tensor("features") if wanted.rows else None
    except (OSError, SafetensorError):
        return None
    return Collected(moments=moments, features=features, probabilities=None)


def _keep(folder: Path, protocol: str, collected: Collected) -> None:
    """Keep features for the next time; a folder that cannot be written only costs that."""
    tensors: dict[str, Tensor] = {}
    for n, moments in collected.moments.items():
        tensors |= {f"total.{n}": moments.total, f"products.{n}": moments.products}
    if collected.features is not None:
        tensors["features"] = collected.features
    try:
        with replacing(_path(folder, protocol)) as file:
            file.write(save(tensors, metadata={_KEY: protocol}))
    except StorageError:
        pass
