"""What the doctor says: one illness, how bad it is, what shows it, and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["note", "warning", "serious"]
"""note: worth knowing; warning: results will suffer; serious: going on as it is wastes the time."""

SEVERITIES: tuple[Severity, ...] = ("note", "warning", "serious")
"""From harmless to grave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the doctor found."""

    severity: Severity
    """How bad it is."""
    what: str
    """What is wrong, one sentence without numbers."""
    evidence: str
    """The numbers that show it, and when they were seen."""
    advice: str
    """What to do, with the flag to change."""

    def to_dict(self) -> dict[str, str]:
        """Return the finding in JSON types."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        """Everything in one line, for a log."""
        return f"Doctor, {self.severity}: {self.what} {self.evidence} {self.advice}"


def worst_first(findings: Mapping[str, Finding]) -> dict[str, Finding]:
    """Return findings by name, the gravest first, otherwise in their order."""
    return dict(sorted(findings.items(), key=lambda item: -SEVERITIES.index(item[1].severity)))
