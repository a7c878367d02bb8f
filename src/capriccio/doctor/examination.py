"""All rules in one table, and the examination of a run by them: once from its folder, or tick by tick while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from capriccio.config import RunConfig
from capriccio.doctor import learning, machine, pictures
from capriccio.doctor.finding import Finding, Severity, worst_first
from capriccio.doctor.record import RunRecord, read_run

Rule = Callable[[RunRecord], Finding | None]
"""Looks for one illness; None = the run has it not, or is too young to tell."""

RULES: Mapping[str, Rule] = {
    "exploding-losses": learning.exploding_losses,
    "vanishing-losses": learning.vanishing_losses,
    "precision-trouble": learning.precision_trouble,
    "discriminator-overfitting": learning.discriminator_overfitting,
    "augmentation-saturated": pictures.augmentation_saturated,
    "augmentation-leaking": pictures.augmentation_leaking,
    "mode-collapse": pictures.mode_collapse,
    "too-few-pictures": machine.too_few_pictures,
    "loader-bound": machine.loader_bound,
    "disk-filling": machine.disk_filling,
}
"""Every illness that is looked for; docs/doctor.md has a section on each."""

JUDGEABLE: Mapping[str, Callable[[RunRecord], bool]] = {
    "exploding-losses": learning.has_learnt,
    "vanishing-losses": learning.has_learnt,
    "precision-trouble": lambda record: bool(record.ticks),
    "discriminator-overfitting": learning.can_overfit,
    "augmentation-saturated": lambda record: record.recent() is not None,
    "augmentation-leaking": lambda record: record.recent() is not None,
    "mode-collapse": pictures.has_sheets,
    "too-few-pictures": lambda record: record.num_pictures is not None,
    "loader-bound": lambda record: record.recent() is not None,
    "disk-filling": machine.knows_growth,
}
"""Whether a run has what each rule judges by: one that is too young is acquitted of nothing."""


def examine(record: RunRecord) -> dict[str, Finding]:
    """Return what is wrong with a run, by name of the rule, the gravest first."""
    found = {name: finding for name, rule in RULES.items() if (finding := rule(record)) is not None}
    return worst_first(found)


def acquitted(record: RunRecord, findings: Mapping[str, Finding]) -> tuple[list[str], list[str]]:
    """Return the names of rules that found nothing, and of those that could not judge yet."""
    judged = {name: JUDGEABLE[name](record) for name in RULES if name not in findings}
    return [name for name, was in judged.items() if was], [name for name, was in judged.items() if not was]


class LiveDoctor:
    """Examines a run at every tick and speaks once about each illness, again when it becomes graver.

    Args:
        folder: the run; its ticks until now are read.
        config: settings of the run.
    """

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self._record = read_run(folder)
        self._record.config = config
        self._told: set[tuple[str, Severity]] = set()

    def look(self, values: Mapping[str, Any]) -> list[str]:
        """Take the statistics of a tick; return what is new, a line for each finding."""
        self._record.append(values)
        lines = []
        for name, finding in examine(self._record).items():
            if (name, finding.severity) not in self._told:
                self._told.add((name, finding.severity))
                lines.append(str(finding))
        return lines
