"""What a list of metrics measures with: networks, distances and real pictures, opened and checked once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from capriccio.config import ImageShape
from capriccio.errors import DatasetError, ShapeError, UsageError
from capriccio.latent.random_labels import NoLabels, RandomLabels
from capriccio.metrics.collect import Collected, Wanted, collect, collect_reals
from capriccio.metrics.names import Metric, PathMetric, SetMetric
from capriccio.metrics.pictures import DatasetLabels, PictureSource, Reals, open_reals
from capriccio.metrics.reference import reference_discriminator
from capriccio.metrics.settings import Settings
from capriccio.networks.discriminator import Discriminator
from capriccio.perception.catalogue import DistanceName, NetworkName, Perception
from capriccio.perception.protocols import FeatureNetwork, PerceptualDistance
from capriccio.perception.weights import WeightsSources
from capriccio.processes import Processes
from capriccio.progress import Progress


class Rulers:
    """The networks, distances and real pictures that some metrics need. Opened by all processes of a run alike."""

    def __init__(
        self,
        metrics: Sequence[Metric],
        shape: ImageShape,
        settings: Settings,
        *,
        c_dim: int,
        data: str | Path | None,
        weights: WeightsSources,
        reference: str | Path | None,
        device: torch.device,
        processes: Processes,
        cache_dir: Path | None,
        progress: Progress | None,
    ) -> None:
        """Open weights and pictures. Raises: UsageError (and its kinds) for whatever is missing or does not fit."""
        self._shape, self._settings, self._c_dim = shape, settings, c_dim
        self._device = device
        self._processes = processes
        self._cache_dir = cache_dir
        self._progress = progress
        self.set_metrics = [m for m in metrics if isinstance(m, SetMetric)]
        self.path_metrics = [m for m in metrics if isinstance(m, PathMetric)]
        # Weights before pictures: what is missing is said before anything long begins.
        early = Perception(channels=shape.channels, weights=weights, device=device, cache_dir=cache_dir)
        names: list[NetworkName] = sorted({m.network for m in self.set_metrics})
        kinds: list[DistanceName] = sorted({m.distance for m in self.path_metrics})
        self.networks: dict[NetworkName, FeatureNetwork] = {}
        self.distances: dict[DistanceName, PerceptualDistance] = {}
        self._open(early, [n for n in names if n != "discriminator"], [k for k in kinds if k != "discriminator"])
        self.reals = self._open_reals(data)
        """None where no metric needs any."""
        if "discriminator" in (*names, *kinds):
            perception = Perception(
                channels=shape.channels,
                weights=weights,
                reference=self._open_reference(reference),
                device=device,
                cache_dir=cache_dir,
            )
            self._open(
                perception, [n for n in names if n == "discriminator"], [k for k in kinds if k == "discriminator"]
            )
        self._check_counts()
        self._real_features: dict[str, Collected] | None = None

    # ---- asked for by the evaluation

    @property
    def labels(self) -> RandomLabels:
        """Labels for samples, drawn from the data set where the network is conditional."""
        return DatasetLabels(self.reals.dataset) if self.reals and self._c_dim else NoLabels()

    def seen_by(self, metric: Metric) -> FeatureNetwork | PerceptualDistance:
        """Return what a metric looks through."""
        return self.networks[metric.network] if isinstance(metric, SetMetric) else self.distances[metric.distance]

    def num_reals(self, metric: SetMetric) -> int:
        """Return how many real pictures a metric compares with."""
        if self.reals is None or not metric.needs_reals:
            return 0
        dataset = self.reals.dataset
        return dataset.num_pictures if metric.full else min(metric.count, len(dataset))

    def features_of(self, samples: PictureSource) -> dict[str, Collected]:
        """Show samples to all networks once; return what the metrics need of that, by network."""
        wanted = _wanted((m, m.count) for m in self.set_metrics)
        return collect(samples, _by_text(self.networks), wanted, self._processes, self._progress)

    def features_of_reals(self) -> dict[str, Collected]:
        """Return the features of the real pictures, from the cache or made now, once."""
        if self._real_features is None:
            wanted = _wanted((m, self.num_reals(m)) for m in self.set_metrics if m.needs_reals)
            networks = {name: network for name, network in self.networks.items() if name in wanted}
            self._real_features = {}
            if self.reals is not None and networks:
                self._real_features = collect_reals(
                    self.reals,
                    _by_text(networks),
                    wanted,
                    self._processes,
                    cache_dir=self._cache_dir,
                    progress=self._progress,
                )
        return self._real_features

    def check_disjoint(self, samples: Reals, name: str) -> None:
        """Raise DatasetError if one of the samples is among the real pictures."""
        if self.reals is None:
            return
        reals = self.reals.digests()
        for digest, picture in samples.digests().items():
            if digest in reals:
                raise DatasetError(
                    f"'{picture}' of '{name}' is among the real pictures too (as '{reals[digest]}'): a set compared "
                    "with itself looks perfect. Leave it out on one side."
                )

    # ---- opening

    def _open(self, perception: Perception, names: list[NetworkName], kinds: list[DistanceName]) -> None:
        for name in names:
            self.networks[name] = perception.network(name)
        for kind in kinds:
            self.distances[kind] = perception.distance(kind)

    def _open_reals(self, data: str | Path | None) -> Reals | None:
        needed = [m.name for m in self.set_metrics if m.needs_reals]
        if data is None:
            if needed:
                raise UsageError(f"{needed[0]} compares with real pictures; name them with --data.")
            if self._c_dim:
                raise UsageError("this model is conditional; name the data set its labels come from with --data.")
            return None

        def opened() -> Reals:
            return open_reals(
                data,
                self._shape,
                labels=self._c_dim > 0,
                mirror=self._settings.mirror,
                resize_filter=self._settings.resize_filter,
                cache_dir=self._cache_dir,
                progress=self._progress,
            )

        reals = self._processes.main_first(opened)
        if reals.dataset.c_dim != self._c_dim:
            raise ShapeError(
                f"'{data}' has labels of size {reals.dataset.c_dim}, the model was trained with size {self._c_dim}."
            )
        return reals

    def _open_reference(self, given: str | Path | None) -> Discriminator | None:
        if self.reals is None:
            raise UsageError("a metric by discriminator belongs to a data set; name it with --data.")
        return reference_discriminator(
            self.reals.dataset.card.hash, given, cache_dir=self._cache_dir, device=self._device
        )

    def _check_counts(self) -> None:
        for metric in self.set_metrics:
            n = self.num_reals(metric) if metric.needs_reals else metric.fewest
            for what, have in (("samples", metric.count), ("real pictures", n)):
                if have < metric.fewest:
                    raise DatasetError(f"{metric.name} needs at least {metric.fewest} {what}, got {have}.")


def _wanted(metrics: Iterable[tuple[SetMetric, int]]) -> dict[str, Wanted]:
    """Return what metrics need, each of so many pictures, by network."""
    wanted: dict[str, Wanted] = {}
    for metric, count in metrics:
        one = Wanted(
            moments=frozenset({count} if metric.kind == "fd" else ()),
            rows=count if metric.needs_features else 0,
            probabilities=count if metric.kind == "is" else 0,
        )
        wanted[metric.network] = wanted.get(metric.network, Wanted()) | one
    return wanted


def _by_text(networks: Mapping[NetworkName, FeatureNetwork]) -> dict[str, FeatureNetwork]:
    return {str(name): network for name, network in networks.items()}
