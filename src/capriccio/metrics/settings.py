"""What can be chosen about a measurement beside its name."""

from __future__ import annotations

from dataclasses import dataclass

from capriccio.errors import UsageError
from capriccio.metrics.pictures import ResizeFilter
from capriccio.ops.truncation import psi_problem


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
