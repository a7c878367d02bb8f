"""Measured numbers with their cards: to and from JSON, in words, and compared."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capriccio.errors import UsageError
from capriccio.metrics.card import ProtocolCard

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricResult:
    """One metric of one network."""

    name: str
    """Name of the metric, every count stated."""
    values: dict[str, float]
    """Numbers by name; means over the repeats."""
    spread: dict[str, float] = field(default_factory=dict)
    """Deviation of each number over the repeats (of n − 1); empty where there was one."""
    card: ProtocolCard
    """How it was measured."""
    caveat: str = ""
    """Why it cannot be held against published numbers; empty = it can."""
    note: str = ""
    """What else a reader should know; empty = nothing."""
    seconds: float = 0.0
    """What it took, shared work counted with the first metric that needed it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result in JSON types."""
        return {
            "metric": self.name,
            "values": self.values,
            "spread": self.spread,
            "card": self.card.to_dict(),
            "caveat": self.caveat,
            "note": self.note,
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything measured of one network, or of one set of pictures."""

    subject: str
    """Name of the network or set."""
    subject_hash: str
    """``model_hash``, or hash of the data set."""
    results: tuple[MetricResult, ...]

    def __getitem__(self, name: str) -> float:
        """Return a number by name, such as ``"fd_squeeze5k_full"`` or ``"pr50k3_full_recall"``."""
        return self.values[name]

    @property
    def values(self) -> dict[str, float]:
        """All numbers by name."""
        return {name: value for result in self.results for name, value in result.values.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation in JSON types."""
        return {
            "format_version": FORMAT_VERSION,
            "subject": self.subject,
            "subject_hash": self.subject_hash,
            "results": [result.to_dict() for result in self.results],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evaluation:
        """Inverse of :meth:`to_dict`. Raises: UsageError if something is missing."""
        try:
            results = tuple(
                MetricResult(
                    name=r["metric"],
                    values=dict(r["values"]),
                    spread=dict(r["spread"]),
                    card=ProtocolCard.from_dict(r["card"]),
                    caveat=r["caveat"],
                    note=r["note"],
                    seconds=r["seconds"],
                )
                for r in values["results"]
            )
            return cls(subject=values["subject"], subject_hash=values["subject_hash"], results=results)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this is no evaluation written by 'capriccio metrics' ({error}).") from error


def read_evaluation(path: str | Path) -> Evaluation:
    """Read what ``capriccio metrics --out FILE`` wrote. Raises: UsageError naming the file if it is nothing of it."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no file '{path}'.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' is not JSON ({error}).") from error
    try:
        return Evaluation.from_dict(values)
    except UsageError as error:
        raise UsageError(f"'{path}': {error}") from error


def describe(evaluation: Evaluation, *, with_cards: bool = True) -> str:
    """Return an evaluation in words: numbers, what they may be compared with, and the protocol."""
    lines = [f"{evaluation.subject} ({evaluation.subject_hash[:16]})"]
    width = max(len(name) for name in evaluation.values) + 2
    for result in evaluation.results:
        for name, value in result.values.items():
            spread = f" ± {result.spread[name]:.3g}" if name in result.spread else ""
            caveat = f"   [{result.caveat}]" if result.caveat else ""
            lines.append(f"  {name:<{width}}{value:.6g}{spread}{caveat}")
        if result.note:
            lines.append(f"  {'':<{width}}note: {result.note}")
    if with_cards:
        lines += ["", "protocol:"]
        lines += [f"  {line}" for line in _cards(evaluation)]
    return "\n".join(lines)


def _cards(evaluation: Evaluation) -> list[str]:
    """Entries that all cards share once, the others by metric."""
    cards = [result.card.to_dict() for result in evaluation.results]
    common = {name: value for name, value in cards[0].items() if all(card[name] == value for card in cards)}
    lines = [f"{name}: {_shown(value)}" for name, value in common.items()]
    alike: dict[str, list[str]] = {}
    for card in cards:
        own = [f"{name} {_shown(value)}" for name, value in card.items() if name not in common and name != "metric"]
        alike.setdefault("; ".join(own), []).append(card["metric"])
    lines += [f"{', '.join(metrics)}: {own}" for own, metrics in alike.items() if own]
    return lines


def _shown(value: Any) -> str:
    return value[:16] + "…" if isinstance(value, str) and len(value) == 64 else str(value)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One number of two networks, measured alike."""

    name: str
    first: float
    second: float
    noise: float | None
    """Root of the sum of both spreads squared; None where a number was measured once."""


def compare(first: Evaluation, second: Evaluation, *, ignore: Collection[str] = ()) -> list[Comparison]:
    """Return the numbers that both evaluations have.

    Args:
        first: one evaluation.
        second: another.
        ignore: entries of the cards that may differ.

    Raises: UsageError if they have no metric in common, or a card differs: it names the entries.
    """
    theirs = {result.name: result for result in second.results}
    pairs = [(result, theirs[result.name]) for result in first.results if result.name in theirs]
    if not pairs:
        raise UsageError(
            f"the evaluations have no metric in common: {', '.join(r.name for r in first.results)} and "
            f"{', '.join(theirs)}."
        )
    found = []
    for a, b in pairs:
        differing = [d for d in a.card.differences(b.card) if d.split(":")[0] not in ignore]
        if differing:
            raise UsageError(
                f"{a.name} was measured in two ways and cannot be compared; the cards differ in {'; '.join(differing)}."
            )
        for name in a.values.keys() & b.values.keys():
            noise = None
            if name in a.spread and name in b.spread:
                noise = (a.spread[name] ** 2 + b.spread[name] ** 2) ** 0.5
            found.append(Comparison(name, a.values[name], b.values[name], noise))
    return sorted(found, key=lambda c: list(first.values).index(c.name))
