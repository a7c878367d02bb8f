"""Metrics of the averaged generator at every snapshot, and which snapshot is the best one."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from capriccio.config import RunConfig
from capriccio.durable import replacing
from capriccio.errors import ConfigError
from capriccio.metrics.evaluation import Evaluator
from capriccio.metrics.names import higher_is_better, parse_metrics
from capriccio.metrics.results import Evaluation
from capriccio.metrics.settings import Settings
from capriccio.networks.generator import Generator
from capriccio.perception.weights import parse_sources
from capriccio.processes import Processes
from capriccio.run_layout import RunLayout
from capriccio.wording import duration, nearest


@dataclass(frozen=True)
class Best:
    """The best snapshot until now."""

    number: str
    """Name of the number it is best by."""
    value: float
    nimg: int
    snapshot: str
    """File name of the snapshot."""


class SnapshotMetrics:
    """Measures as ``config.evaluation`` says; all processes take part, the main one keeps the books."""

    def __init__(self, config: RunConfig, folder: Path, processes: Processes, device: torch.device) -> None:
        """Open everything that will be needed. Raises: UsageError for what is missing, before any training."""
        wanted = config.evaluation
        metrics = parse_metrics(wanted.metrics)
        numbers = [number for metric in metrics for number in metric.numbers]
        self._number = wanted.keep_best or numbers[0]
        if self._number not in numbers:
            raise ConfigError(
                f"evaluation.keep_best: '{self._number}' is not measured.{nearest(self._number, numbers)} "
                f"There are: {', '.join(numbers)}."
            )
        self._evaluator = Evaluator(
            metrics,
            config.generator.shape,
            c_dim=config.generator.c_dim,
            data=wanted.data or config.data.path,
            settings=Settings(mirror=config.data.mirror, batch=wanted.batch),
            weights=parse_sources([text for text in wanted.weights.split(",") if text]),
            reference=wanted.reference,
            device=device,
            processes=processes,
        )
        self._folder = folder
        self._processes = processes

    def measure(self, generator: Generator, nimg: int, snapshot: Path) -> Evaluation:
        """Measure a snapshot's generator and, on the main process, write a line for each metric and the best one.

        Raises: JobError if the generator paints what is not finite.
        """
        started = time.monotonic()
        evaluation = self._evaluator.measure(generator, name=snapshot.name)
        seconds = time.monotonic() - started
        if self._processes.is_main:
            for result in evaluation.results:
                line = {
                    "metric": result.name,
                    "results": result.values,
                    "card": result.card.to_dict(),
                    "nimg": nimg,
                    "snapshot_pkl": f"{snapshot.parent.name}/{snapshot.name}",
                    "total_time": seconds,
                    "total_time_str": duration(seconds),
                    "num_gpus": self._processes.world_size,
                    "timestamp": time.time(),
                }
                with open(self._path(result.name), "a", encoding="utf-8") as file:
                    file.write(json.dumps(line, sort_keys=True) + "\n")
            best = self.best()
            if best is not None:
                with replacing(RunLayout(self._folder).best) as replaced:
                    replaced.write(json.dumps(dataclasses.asdict(best), indent=1).encode())
        return evaluation

    def measured(self, nimg: int) -> bool:
        """Whether the snapshot at ``nimg`` was measured."""
        return any(line["nimg"] == nimg for line in self._lines())

    def best(self) -> Best | None:
        """Return the best snapshot that is still there; None if none was measured."""
        # A later snapshot of the same thousand images has taken the place of the earlier one, so its number counts.
        measured = {line["snapshot_pkl"]: line for line in self._lines()}
        found = [
            Best(self._number, line["results"][self._number], line["nimg"], Path(file).name)
            for file, line in measured.items()
            if (self._folder / file).exists()
        ]
        sign = -1 if higher_is_better(self._number) else 1
        return min(found, key=lambda best: sign * best.value, default=None)

    def trim(self, nimg: int) -> None:
        """Drop what was measured after ``nimg`` by a session whose progress was lost."""
        for path in self._folder.glob("metric-*.jsonl"):
            kept = [line for line in path.read_text().splitlines() if _parsed(line).get("nimg", nimg + 1) <= nimg]
            with replacing(path) as file:
                file.write("".join(line + "\n" for line in kept).encode())

    def _lines(self) -> list[dict[str, Any]]:
        """The lines of the metric that decides which snapshot is best."""
        for path in self._folder.glob("metric-*.jsonl"):
            lines = [parsed for line in path.read_text().splitlines() if (parsed := _parsed(line))]
            if lines and self._number in lines[0]["results"]:
                return lines
        return []

    def _path(self, metric: str) -> Path:
        return self._folder / f"metric-{metric}.jsonl"


def _parsed(line: str) -> dict[str, Any]:
    """Return a line's data; nothing for one that was cut off by a full disk."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        return {}
