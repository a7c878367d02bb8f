"""What a run folder tells: the settings, one line of statistics a tick, the sheets of samples, the room on the disk."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from capriccio.config import RunConfig, from_dict
from capriccio.errors import CapriccioError, RunError
from capriccio.run_layout import RunLayout

RECENT_SHARE = 0.1
"""The recent past of a run: this share of its ticks …"""

RECENT_TICKS = 5
"""… and at least so many; a shorter run cannot be judged by its statistics."""

METRICS = "Metrics/"
"""What the names of metrics begin with."""

METRICS_NIMG = "Metrics/nimg"
"""How many images had been shown when they were computed."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One line of ``stats.jsonl``."""

    values: Mapping[str, Any]

    def mean(self, name: str) -> float | None:
        """Return the mean of a statistic: None if the tick has none of it, NaN if it was not finite."""
        entry = self.values.get(name)
        if not isinstance(entry, Mapping):
            return None
        value = entry.get("mean")
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan

    def count(self, name: str) -> float:
        """Return how many numbers the mean of ``name`` is of; 0 without any."""
        entry = self.values.get(name)
        return float(entry.get("num") or 0) if isinstance(entry, Mapping) else 0.0

    @property
    def nimg(self) -> int:
        """Images shown to the discriminator at the end of the tick."""
        return int(self.values["nimg"])

    @property
    def number(self) -> int:
        """Number of the tick, from 0."""
        number = self.mean("Progress/tick")
        return int(number) if number is not None and math.isfinite(number) else 0


@dataclass(frozen=True)
class Span:
    """Some ticks in a row: over these a statistic is judged."""

    ticks: Sequence[Tick]

    def values(self, name: str) -> list[float]:
        """Return the means of ``name``, of the ticks that have it; NaN where it was not finite."""
        return [value for tick in self.ticks if (value := tick.mean(name)) is not None]

    def mean(self, name: str) -> float | None:
        """Return the mean of the finite values of ``name``; None without any."""
        finite = [value for value in self.values(name) if math.isfinite(value)]
        return sum(finite) / len(finite) if finite else None

    def curve(self, name: str) -> list[tuple[float, float]]:
        """Return (thousands of images shown, mean of ``name``) for the ticks where it was finite."""
        points = []
        for tick in self.ticks:
            value = tick.mean(name)
            if value is None or not math.isfinite(value):
                continue
            measured = tick.mean(METRICS_NIMG) if name.startswith(METRICS) else None  # a little before the tick's end
            points.append(((tick.nimg if measured is None else measured) / 1000, value))
        return points

    def total(self, name: str) -> float:
        """Return the sum of the finite values of ``name``."""
        return sum(value for value in self.values(name) if math.isfinite(value))

    def __str__(self) -> str:
        """Where in the run this is: its ticks, and the images shown."""
        first, last = self.ticks[0], self.ticks[-1]
        if first.number == last.number:
            return f"in tick {last.number} ({last.nimg / 1000:.1f} kimg)"
        return f"in ticks {first.number}–{last.number} ({first.nimg / 1000:.1f}–{last.nimg / 1000:.1f} kimg)"


@dataclass
class RunRecord:
    """A run as its folder tells it; grows by :meth:`append` while the run goes on."""

    folder: Path
    config: RunConfig
    ticks: list[Tick]
    """All ticks, oldest first."""
    sessions: Sequence[Mapping[str, Any]] = ()
    """Of ``environment.json``: one for each start and resume."""
    free_bytes: Callable[[], int] | None = field(default=None, repr=False)
    """Room on the disk of the run; None = ask the disk."""

    def append(self, values: Mapping[str, Any]) -> None:
        """Add the statistics of one more tick."""
        self.ticks.append(Tick(values))

    @property
    def nimg(self) -> int:
        """Images shown to the discriminator until now."""
        return self.ticks[-1].nimg if self.ticks else 0

    @property
    def num_pictures(self) -> int | None:
        """Pictures that are trained on, without mirrored ones; None where that is not known."""
        epochs = self.ticks[-1].mean("Progress/epochs") if self.ticks else None
        return round(self.nimg / epochs) if epochs and math.isfinite(epochs) else None

    @property
    def epochs(self) -> float | None:
        """How often each picture was shown until now; None where that is not known."""
        return self.ticks[-1].mean("Progress/epochs") if self.ticks else None

    def recent(self) -> Span | None:
        """Return the recent past: the last tenth of the ticks, at least five; None when the run has fewer."""
        if len(self.ticks) < RECENT_TICKS:
            return None
        return Span(self.ticks[-max(RECENT_TICKS, math.ceil(len(self.ticks) * RECENT_SHARE)) :])

    @cached_property
    def starts_from_other_network(self) -> bool:
        """Whether the run began with the weights of another one, as its command lines say."""
        return self.was_told("--init-from", "--continue-from")

    def was_told(self, *flags: str) -> bool:
        """Return whether any of ``flags`` stands in one of the run's command lines."""
        words = {str(word).split("=")[0] for session in self.sessions for word in session.get("command", ())}
        return not words.isdisjoint(flags)

    @property
    def room(self) -> int:
        """Free bytes on the disk that the run writes to."""
        return self.free_bytes() if self.free_bytes is not None else shutil.disk_usage(self.folder).free

    @property
    def layout(self) -> RunLayout:
        """What lies where in the folder."""
        return RunLayout(self.folder)


def read_run(folder: Path) -> RunRecord:
    """Read a run folder. Nothing is written, and a run may go on in it.

    Raises: RunError if ``folder`` holds no run, or its settings cannot be read.
    """
    layout = RunLayout(folder)
    path = layout.config
    if not path.is_file():
        raise RunError(
            f"'{folder}' holds no run: there is no config.yaml in it. Name the folder that was given to --out."
        )
    try:
        config = from_dict(RunConfig, yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, CapriccioError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"'{path}' cannot be read ({reason}); restore it to have the run examined.") from error
    return RunRecord(folder, config, _read_ticks(layout.statistics), _read_sessions(layout.environment))


def _read_ticks(path: Path) -> list[Tick]:
    """Return the ticks; lines that are cut off or damaged are passed over."""
    if not path.is_file():
        return []
    ticks = []
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                values = json.loads(line)
            except ValueError:
                continue
            if isinstance(values, dict) and isinstance(values.get("nimg"), int):
                ticks.append(Tick(values))
    return ticks


def _read_sessions(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return [session for session in sessions if isinstance(session, dict)] if isinstance(sessions, list) else ()
