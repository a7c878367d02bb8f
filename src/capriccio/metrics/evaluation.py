"""From names of metrics to numbers: open what is needed once, then measure any number of networks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from capriccio.config import ImageShape
from capriccio.errors import DatasetError, ShapeError, UsageError
from capriccio.loading.model import Model, load
from capriccio.metrics.card import ProtocolCard, network_entries
from capriccio.metrics.collect import Collected, Wanted, collect, collect_reals
from capriccio.metrics.inception_score import inception_score
from capriccio.metrics.kernel_distance import kernel_distance
from capriccio.metrics.manifold import coverage
from capriccio.metrics.moments import frechet_distance
from capriccio.metrics.names import Metric, PathMetric, SetMetric, parse_metrics
from capriccio.metrics.path_length import path_lengths, trimmed_mean
from capriccio.metrics.pictures import DatasetLabels, Fakes, Reals, ResizeFilter, check_finite, open_reals
from capriccio.metrics.reference import reference_discriminator
from capriccio.metrics.results import Evaluation, MetricResult
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.networks.precision import precision_name
from capriccio.ops.truncation import psi_problem
from capriccio.perception.catalogue import DistanceName, NetworkName, Perception
from capriccio.perception.protocols import FeatureNetwork, PerceptualDistance
from capriccio.perception.weights import WeightsSources
from capriccio.provenance import code_version
from capriccio.runtime import Processes

PATH_BLOCK = 16
"""Pairs whose random numbers are drawn together."""

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be chosen about a measurement beside its name; all of it stands in the card."""

    seed: int = 0
    """First seed of the samples."""
    repeats: int = 1
    """Seeds, counted up from the first, that are averaged over."""
    psi: float = 1.0
    """Truncation; 1 = none, as the field measures."""
    mirror: bool = False
    """Whether mirrored real pictures count, in metrics without ``_full``."""
    resize_filter: ResizeFilter = "lanczos"
    """Reduces real pictures to the size of the generator."""
    batch: int = 16
    """Pictures painted at once; changes no number."""

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.batch < 1:
            raise UsageError(f"--repeats and --batch must be at least 1, got {self.repeats} and {self.batch}.")
        if problem := psi_problem(self.psi):
            raise UsageError(f"--{problem}")


def evaluate(
    model: Model | str | Path | None = None,
    data: str | Path | None = None,
    metrics: str | Sequence[str] = "fd_random5k_full",
    *,
    count: int | None = None,
    settings: Settings | None = None,
    weights: WeightsSources | None = None,
    reference: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a model.

    Args:
        model: a loaded model, or what :func:`capriccio.load` takes.
        data: archive or folder of real pictures; None where no metric needs one.
        metrics: names such as ``"fid50k_full,ppl2_wend"`` (see :mod:`capriccio.metrics.names`).
        count: samples for names that state none.
        settings: seed, repeats, truncation, reference protocol; None = the field's defaults.
        weights: paths or addresses of published weights by key, such as ``{"inception": "pt_inception.pth"}``.
        reference: snapshot whose discriminator is the ruler of metrics by discriminator.
        device: where to compute, if ``model`` is not loaded yet.
        precision: of the generator, if ``model`` is not loaded yet.
        progress: called with (done, total) during long parts.

    Raises: UsageError (and its kinds) for unknown metrics, missing weights, data that do not fit; JobError if the
        network paints what is not finite.
    """
    chosen = parse_metrics(metrics, count=count)
    if not isinstance(model, Model):
        model = load(model, device=device, precision=precision)
    evaluator = Evaluator(
        chosen,
        model.shape,
        c_dim=model.c_dim,
        data=data,
        settings=settings or Settings(),
        weights=weights or {},
        reference=reference,
        device=model.device,
        progress=progress,
    )
    return evaluator.measure(model.generator, name=str(model.card.get("title", "model")), model_hash=model.model_hash)


class Evaluator:
    """Everything a list of metrics needs, opened and checked once; measures network after network.

    Built and called by all processes of a run alike; they share the work.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        shape: ImageShape,
        *,
        c_dim: int = 0,
        data: str | Path | None = None,
        settings: Settings | None = None,
        weights: WeightsSources | None = None,
        reference: str | Path | None = None,
        device: torch.device | str = "cpu",
        processes: Processes | None = None,
        cache_dir: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Open weights and pictures. Raises: UsageError (and its kinds) for whatever is missing or does not fit."""
        self.metrics = tuple(metrics)
        self.settings = settings or Settings()
        self._shape, self._c_dim = shape, c_dim
        self._device = torch.device(device)
        self._processes = processes or Processes()
        self._cache_dir = cache_dir
        self._progress = progress
        self._set_metrics = [m for m in self.metrics if isinstance(m, SetMetric)]
        self._path_metrics = [m for m in self.metrics if isinstance(m, PathMetric)]
        # Weights before pictures: what is missing is said before anything long begins.
        weights = weights or {}
        early = Perception(channels=shape.channels, weights=weights, device=self._device, cache_dir=cache_dir)
        names: list[NetworkName] = sorted({m.network for m in self._set_metrics})
        kinds: list[DistanceName] = sorted({m.distance for m in self._path_metrics})
        self._networks: dict[NetworkName, FeatureNetwork] = {}
        self._distances: dict[DistanceName, PerceptualDistance] = {}
        self._open(early, [n for n in names if n != "discriminator"], [k for k in kinds if k != "discriminator"])
        self._reals = self._open_reals(data)
        if "discriminator" in (*names, *kinds):
            ruler = self._open_reference(reference)
            perception = Perception(
                channels=shape.channels, weights=weights, reference=ruler, device=self._device, cache_dir=cache_dir
            )
            self._open(
                perception, [n for n in names if n == "discriminator"], [k for k in kinds if k == "discriminator"]
            )
        self._check_counts()
        self._real_features: dict[str, Collected] | None = None

    # ---- measuring

    def measure(self, generator: Generator, *, name: str = "model", model_hash: str = "") -> Evaluation:
        """Measure a generator of the shape this evaluator was built for.

        Raises: ShapeError if it has another shape; JobError naming it if it paints what is not finite.
        """
        config = generator.config
        if config.shape != self._shape or config.c_dim != self._c_dim:
            raise ShapeError(f"'{name}' paints {config.shape}, this evaluation is of {self._shape}.")
        seconds = dict.fromkeys((m.name for m in self.metrics), 0.0)
        found: dict[str, list[dict[str, float]]] = {m.name: [] for m in self.metrics}
        for seed in range(self.settings.seed, self.settings.seed + self.settings.repeats):
            fakes = self._fakes(generator, name, seed)
            self._measure_sets(fakes, found, seconds, seed)
            for metric in self._path_metrics:
                started = time.monotonic()
                found[metric.name].append({metric.name: self._path_length(fakes, metric)})
                seconds[metric.name] += time.monotonic() - started
        precision = precision_name(generator.synthesis.low_precision)
        return self._told(name, model_hash, found, seconds, samples="generated", precision=precision)

    def measure_pictures(self, samples: Reals, *, name: str = "pictures") -> Evaluation:
        """Measure a set of pictures in place of a generator.

        Raises: DatasetError if a picture is among the real ones too, or there are fewer than a metric asks for;
            UsageError for metrics that need a generator.
        """
        if self._path_metrics:
            raise UsageError(f"{self._path_metrics[0].name} walks through latent space: it needs a model.")
        if self.settings.repeats > 1:
            raise UsageError("--repeats draws new samples; a set of pictures is the same every time.")
        largest = max(self._set_metrics, key=lambda m: m.count)
        if largest.count > len(samples):
            raise DatasetError(
                f"{largest.name} asks for {largest.count:,} samples, '{name}' has {len(samples):,} pictures; "
                "ask for fewer with --count."
            )
        self._check_disjoint(samples, name)
        seconds = dict.fromkeys((m.name for m in self.metrics), 0.0)
        found: dict[str, list[dict[str, float]]] = {m.name: [] for m in self.metrics}
        self._measure_sets(samples, found, seconds, self.settings.seed)
        data_hash = samples.dataset.card.hash
        return self._told(name, data_hash, found, seconds, samples="pictures", precision="fp32")

    def _measure_sets(
        self,
        samples: Fakes | Reals,
        found: dict[str, list[dict[str, float]]],
        seconds: dict[str, float],
        seed: int,
    ) -> None:
        """Show samples to all networks once and add the numbers of one repeat."""
        if not self._set_metrics:
            return
        started = time.monotonic()
        real = self._collected_reals()
        fake = collect(samples, _by_text(self._networks), self._wanted_of_fakes(), self._processes, self._progress)
        for metric in self._set_metrics:
            values: object = None
            if self._processes.is_main:
                n = self._num_reals(metric)
                values = _set_values(metric, fake[metric.network], real.get(metric.network), n, seed)
            values = self._processes.share(values)
            assert isinstance(values, dict)
            found[metric.name].append(values)
            seconds[metric.name] += time.monotonic() - started
            started = time.monotonic()

    def _path_length(self, fakes: Fakes, metric: PathMetric) -> float:
        lengths = torch.zeros(metric.count)
        total = -(-metric.count // PATH_BLOCK)
        for index in range(self._processes.rank, total, self._processes.world_size):
            draws = fakes.path_block(index, PATH_BLOCK)
            if metric.sampling == "end":
                draws = replace(draws, t=torch.zeros_like(draws.t))
            start = index * PATH_BLOCK
            # The step of a path is 10⁻⁴: in a lower precision the distance of its ends would be rounding.
            with fakes.generator.in_float32():
                part = path_lengths(
                    fakes.generator,
                    self._distances[metric.distance],
                    draws,
                    in_w=metric.space == "w",
                    crop=metric.crop,
                )
            check_finite(part, fakes.name)
            lengths[start : start + PATH_BLOCK] = part.cpu()[: metric.count - start]
            if self._progress is not None:
                self._progress(min(start + PATH_BLOCK, metric.count), metric.count)
        return trimmed_mean(self._processes.sum(lengths))

    def _told(
        self,
        name: str,
        subject_hash: str,
        found: Mapping[str, list[dict[str, float]]],
        seconds: Mapping[str, float],
        *,
        samples: str,
        precision: str,
    ) -> Evaluation:
        results = []
        for metric in self.metrics:
            runs = found[metric.name]
            network = self._seen_by(metric)
            results.append(
                MetricResult(
                    name=metric.name,
                    values={key: statistics.mean(run[key] for run in runs) for key in runs[0]},
                    spread={key: statistics.stdev(run[key] for run in runs) for key in runs[0]}
                    if len(runs) > 1
                    else {},
                    card=self._card(metric, samples, precision),
                    caveat=network.card.caveat,
                    note=self._note(metric),
                    seconds=seconds[metric.name],
                )
            )
        return Evaluation(subject=name, subject_hash=subject_hash, results=tuple(results))

    # ---- what is needed

    def _open(self, perception: Perception, names: list[NetworkName], kinds: list[DistanceName]) -> None:
        for name in names:
            self._networks[name] = perception.network(name)
        for kind in kinds:
            self._distances[kind] = perception.distance(kind)

    def _open_reals(self, data: str | Path | None) -> Reals | None:
        needed = [m.name for m in self._set_metrics if m.needs_reals]
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
                mirror=self.settings.mirror,
                resize_filter=self.settings.resize_filter,
                cache_dir=self._cache_dir,
                progress=self._progress,
            )

        # The main process first, so that it alone fills the cache.
        reals = opened() if self._processes.is_main else None
        self._processes.wait()
        reals = reals or opened()
        if reals.dataset.c_dim != self._c_dim:
            raise ShapeError(
                f"'{data}' has labels of size {reals.dataset.c_dim}, the model was trained with size {self._c_dim}."
            )
        return reals

    def _open_reference(self, given: str | Path | None) -> Discriminator | None:
        if self._reals is None:
            raise UsageError("a metric by discriminator belongs to a data set; name it with --data.")
        return reference_discriminator(
            self._reals.dataset.card.hash, given, cache_dir=self._cache_dir, device=self._device
        )

    def _check_counts(self) -> None:
        for metric in self._set_metrics:
            n = self._num_reals(metric) if metric.needs_reals else metric.fewest
            for what, have in (("samples", metric.count), ("real pictures", n)):
                if have < metric.fewest:
                    raise DatasetError(f"{metric.name} needs at least {metric.fewest} {what}, got {have}.")

    def _check_disjoint(self, samples: Reals, name: str) -> None:
        if self._reals is None:
            return
        reals = self._reals.digests()
        for digest, picture in samples.digests().items():
            if digest in reals:
                raise DatasetError(
                    f"'{picture}' of '{name}' is among the real pictures too (as '{reals[digest]}'): a set compared "
                    "with itself looks perfect. Leave it out on one side."
                )

    def _num_reals(self, metric: SetMetric) -> int:
        if self._reals is None or not metric.needs_reals:
            return 0
        dataset = self._reals.dataset
        return dataset.num_pictures if metric.full else min(metric.count, len(dataset))

    def _wanted_of_fakes(self) -> dict[str, Wanted]:
        wanted: dict[str, Wanted] = {}
        for m in self._set_metrics:
            one = Wanted(
                moments=frozenset({m.count}) if m.kind == "fd" else frozenset(),
                rows=m.count if m.needs_features else 0,
                probabilities=m.count if m.kind == "is" else 0,
            )
            wanted[m.network] = wanted.get(m.network, Wanted()) | one
        return wanted

    def _collected_reals(self) -> dict[str, Collected]:
        """Return the features of the real pictures, from the cache or made now, once."""
        if self._real_features is None:
            wanted: dict[str, Wanted] = {}
            for m in self._set_metrics:
                if m.needs_reals:
                    n = self._num_reals(m)
                    one = Wanted(moments=frozenset({n} if m.kind == "fd" else ()), rows=n if m.needs_features else 0)
                    wanted[m.network] = wanted.get(m.network, Wanted()) | one
            networks = {name: network for name, network in self._networks.items() if name in wanted}
            self._real_features = {}
            if self._reals is not None and networks:
                self._real_features = collect_reals(
                    self._reals,
                    _by_text(networks),
                    wanted,
                    self._processes,
                    cache_dir=self._cache_dir,
                    progress=self._progress,
                )
        return self._real_features

    def _fakes(self, generator: Generator, name: str, seed: int) -> Fakes:
        return Fakes(
            generator=generator,
            name=name,
            labels=DatasetLabels(self._reals.dataset if self._reals and self._c_dim else None),
            count=max((m.count for m in self._set_metrics), default=0),
            seed=seed,
            psi=self.settings.psi,
            batch=self.settings.batch,
            device=self._device,
        )

    # ---- what is told

    def _seen_by(self, metric: Metric) -> FeatureNetwork | PerceptualDistance:
        return self._networks[metric.network] if isinstance(metric, SetMetric) else self._distances[metric.distance]

    def _card(self, metric: Metric, samples: str, precision: str) -> ProtocolCard:
        settings, reals = self.settings, self._reals
        is_set = isinstance(metric, SetMetric)
        num_reals = self._num_reals(metric) if isinstance(metric, SetMetric) else 0
        generated = samples == "generated"
        uses_data = reals is not None and (num_reals > 0 or self._c_dim > 0)
        return ProtocolCard(
            metric=metric.name,
            samples=samples,
            count=metric.count,
            size=str(self._shape),
            **network_entries(self._seen_by(metric).card),
            data_hash=reals.dataset.card.hash if reals is not None and uses_data else None,
            reals=num_reals,
            mirror=isinstance(metric, SetMetric) and num_reals > 0 and settings.mirror and not metric.full,
            resize_filter=reals.filter_used if reals is not None and num_reals else "none",
            psi=(settings.psi if is_set else 1.0) if generated else None,
            noise=("random" if is_set else "random, one for both pictures of a pair") if generated else "none",
            labels="of random pictures of the data set" if self._c_dim and generated else "none",
            seed=settings.seed if generated else None,
            repeats=settings.repeats,
            precision=precision if is_set or not generated else "fp32",
            code=code_version(),
        )

    def _note(self, metric: Metric) -> str:
        if not isinstance(metric, SetMetric) or metric.kind != "fd":
            return ""
        fewest, features = min(metric.count, self._num_reals(metric)), self._networks[metric.network].num_features
        if fewest > features:
            return ""
        return f"{fewest:,} pictures for {features:,} features: the value depends strongly on the count"


def _set_values(
    metric: SetMetric, fake: Collected, real: Collected | None, num_reals: int, seed: int
) -> dict[str, float]:
    """Return the numbers of one metric, by name."""
    return dict(zip(metric.numbers, _set_numbers(metric, fake, real, num_reals, seed), strict=True))


def _set_numbers(
    metric: SetMetric, fake: Collected, real: Collected | None, num_reals: int, seed: int
) -> tuple[float, ...]:
    if metric.kind == "is":
        assert fake.probabilities is not None
        return inception_score(fake.probabilities[: metric.count])
    assert real is not None
    if metric.kind == "fd":
        return (frechet_distance(fake.moments[metric.count], real.moments[num_reals]),)
    assert fake.features is not None
    assert real.features is not None
    fakes, reals = fake.features[: metric.count], real.features[:num_reals]
    if metric.kind == "kd":
        kernel = kernel_distance(fakes, reals, seed=seed)
        return kernel.mean, kernel.std
    # The published precision and recall round to half precision; its network is VGG-16.
    found = coverage(fakes, reals, metric.neighbours, half=metric.kind == "pr" and metric.network == "vgg")
    return (found.precision, found.recall) if metric.kind == "pr" else (found.density, found.coverage)


def _by_text(networks: Mapping[NetworkName, FeatureNetwork]) -> dict[str, FeatureNetwork]:
    return {str(name): network for name, network in networks.items()}
