"""From names of metrics to numbers: open what is needed once, then measure any number of networks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from capriccio.config import ImageShape
from capriccio.errors import DatasetError, ShapeError, UsageError
from capriccio.loading.model import Model, load
from capriccio.metrics.card import ProtocolCard, network_entries
from capriccio.metrics.collect import Collected
from capriccio.metrics.inception_score import inception_score
from capriccio.metrics.kernel_distance import kernel_distance
from capriccio.metrics.manifold import coverage
from capriccio.metrics.moments import frechet_distance
from capriccio.metrics.names import Metric, PathMetric, SetMetric, parse_metrics
from capriccio.metrics.path_length import path_lengths, trimmed_mean
from capriccio.metrics.pictures import Fakes, Reals, check_finite
from capriccio.metrics.results import Evaluation, MetricResult
from capriccio.metrics.rulers import Rulers
from capriccio.metrics.settings import Settings
from capriccio.networks.generator import Generator
from capriccio.networks.precision import precision_name
from capriccio.perception.weights import WeightsSources
from capriccio.processes import Processes
from capriccio.progress import Progress
from capriccio.provenance import code_version

PATH_BLOCK = 16
"""Pairs whose random numbers are drawn together."""


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
        self._progress = progress
        self._rulers = Rulers(
            self.metrics,
            shape,
            self.settings,
            c_dim=c_dim,
            data=data,
            weights=weights or {},
            reference=reference,
            device=self._device,
            processes=self._processes,
            cache_dir=cache_dir,
            progress=progress,
        )

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
            for metric in self._rulers.path_metrics:
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
        if self._rulers.path_metrics:
            raise UsageError(f"{self._rulers.path_metrics[0].name} walks through latent space: it needs a model.")
        if self.settings.repeats > 1:
            raise UsageError("--repeats draws new samples; a set of pictures is the same every time.")
        largest = max(self._rulers.set_metrics, key=lambda m: m.count)
        if largest.count > len(samples):
            raise DatasetError(
                f"{largest.name} asks for {largest.count:,} samples, '{name}' has {len(samples):,} pictures; "
                "ask for fewer with --count."
            )
        self._rulers.check_disjoint(samples, name)
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
        if not self._rulers.set_metrics:
            return
        started = time.monotonic()
        real = self._rulers.features_of_reals()
        fake = self._rulers.features_of(samples)
        for metric in self._rulers.set_metrics:
            values: object = None
            if self._processes.is_main:
                n = self._rulers.num_reals(metric)
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
                    self._rulers.distances[metric.distance],
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
            network = self._rulers.seen_by(metric)
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

    def _fakes(self, generator: Generator, name: str, seed: int) -> Fakes:
        return Fakes(
            generator=generator,
            name=name,
            labels=self._rulers.labels,
            count=max((m.count for m in self._rulers.set_metrics), default=0),
            seed=seed,
            psi=self.settings.psi,
            batch=self.settings.batch,
            device=self._device,
        )

    # ---- what is told

    def _card(self, metric: Metric, samples: str, precision: str) -> ProtocolCard:
        settings, reals = self.settings, self._rulers.reals
        is_set = isinstance(metric, SetMetric)
        num_reals = self._rulers.num_reals(metric) if isinstance(metric, SetMetric) else 0
        generated = samples == "generated"
        uses_data = reals is not None and (num_reals > 0 or self._c_dim > 0)
        return ProtocolCard(
            metric=metric.name,
            samples=samples,
            count=metric.count,
            size=str(self._shape),
            **network_entries(self._rulers.seen_by(metric).card),
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
        fewest = min(metric.count, self._rulers.num_reals(metric))
        features = self._rulers.networks[metric.network].num_features
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
