"""Statistics of a run, collected on the device between two ticks without waiting for it."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from capriccio.processes import Processes


def sums(values: Tensor) -> Tensor:
    """Return count, sum and sum of squares of the elements of ``values``, [3], float64 where the device has it."""
    v = values.detach().to(torch.float32 if values.device.type == "mps" else torch.float64).reshape(-1)
    return torch.stack([torch.ones_like(v).sum(), v.sum(), v.square().sum()])


SKIPPED_OF = "Numerics/skipped_steps/"
"""What the names of counts of skipped steps begin with; the phase follows."""


class Statistics:
    """Means and deviations by name, gathered since the last tick without waiting for the device.

    Names are those of the field: ``Loss/G/loss``, ``Loss/signs/real``, ``Timing/Gmain`` …
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._timed = device.type == "cpu"
        self._moments: dict[str, Tensor] = {}
        self._seconds: dict[str, list[float]] = {}
        self._bad_loss = torch.zeros((), device=device)
        self._sanitized = torch.zeros((), device=device)
        self._skipped: dict[str, Tensor] = {}
        self._skipped_in_a_row: dict[str, Tensor] = {}
        self._phase_start = 0.0
        self._before_phase: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Count every element of ``values`` under ``name``."""
        self.add_sums(name, sums(values))

    def add_sums(self, name: str, values: Tensor) -> None:
        """Count values under ``name`` of which only the :func:`sums` [3] are known."""
        # Cloned, because the work of a phase may be replayed onto the same memory.
        self._moments[name] = self._moments[name] + values if name in self._moments else values.clone()

    # ---- phases

    def begin_phase(self, name: str) -> None:
        """Start the clock of a phase, where waiting for the device costs nothing."""
        self._phase_start = time.perf_counter()
        self._before_phase = dict(self._moments)

    def forget_phase(self) -> None:
        """Forget what was added since the phase began: it is run again, because memory did not suffice."""
        self._moments = dict(self._before_phase)
        self.take_bad_loss()

    def end_phase(self, name: str) -> None:
        """Stop the clock of a phase."""
        if self._timed:
            self.add_seconds(name, time.perf_counter() - self._phase_start)

    def add_seconds(self, name: str, seconds: float) -> None:
        """Count a duration under ``Timing/`` ``name``."""
        self._seconds.setdefault(name, []).append(seconds)

    # ---- non-finite numbers

    def note_loss_is_finite(self, finite: Tensor) -> None:
        """Remember that a loss of the current phase was, or was not, finite."""
        self._bad_loss = self._bad_loss + (~finite).float()

    def take_bad_loss(self) -> Tensor:
        """Return how many losses of the current phase were not finite, and forget them."""
        bad, self._bad_loss = self._bad_loss, torch.zeros_like(self._bad_loss)
        return bad

    def note_sanitized(self, count: Tensor) -> None:
        """Count gradient values that were replaced."""
        self._sanitized = self._sanitized + count

    def note_skipped(self, phase: str, skip: Tensor) -> None:
        """Count a phase whose step was (1) or was not (0) skipped."""
        self._skipped[phase] = self._skipped.get(phase, 0) + skip
        self._skipped_in_a_row[phase] = (self._skipped_in_a_row.get(phase, 0) + skip) * skip

    def skipped_in_a_row(self) -> tuple[int, str]:
        """How many steps of one phase in a row were skipped until now, the most of any phase, and of which; waits for
        the device.
        """
        return max(((int(count), phase) for phase, count in self._skipped_in_a_row.items()), default=(0, ""))

    @staticmethod
    def told_skipped(values: Mapping[str, Mapping[str, float]]) -> str:
        """Return which phases skipped steps, for people, from what :meth:`take` returned; empty = none did."""
        return ", ".join(f"{entry['mean']:g} of {name.removeprefix(SKIPPED_OF)}" for name, entry in values.items()
                         if name.startswith(SKIPPED_OF))  # fmt: skip

    def forget_skipped(self) -> None:
        """Start counting skipped steps anew, after the run was taken back."""
        self._skipped_in_a_row.clear()

    # ---- ticks

    def mean(self, name: str) -> float | None:
        """Mean of ``name`` since the last tick on this process; None if nothing was added."""
        if name not in self._moments:
            return None
        count, total, _ = self._moments[name].tolist()
        return float(total / count)

    def take(self, processes: Processes) -> dict[str, dict[str, float]]:
        """Return mean, std and count by name over all processes, and begin anew.

        Source: std = sqrt(max(E x² − (E x)², 0)), sums in float64.
        """
        result = {}
        for name in sorted(self._moments):
            count, total, squares = processes.sum(self._moments[name]).tolist()
            mean = total / count
            result[name] = {"num": count, "mean": mean, "std": max(squares / count - mean * mean, 0.0) ** 0.5}
        for name, seconds in sorted(self._seconds.items()):
            mean = 1000 * sum(seconds) / len(seconds)
            result[f"Timing/{name}"] = {"num": len(seconds), "mean": mean, "std": 0.0}
        # Counted after gradients were shared: these are the same on every process.
        skipped = {phase: float(count) for phase, count in self._skipped.items()}
        numerics = {
            "Numerics/sanitized_gradients": float(self._sanitized),
            "Numerics/skipped_steps": sum(skipped.values()),
            **{SKIPPED_OF + phase: count for phase, count in skipped.items() if count},
        }
        for name, value in numerics.items():
            result[name] = {"num": 1, "mean": value, "std": 0.0}
        self._moments.clear()
        self._seconds.clear()
        self._sanitized = torch.zeros_like(self._sanitized)
        self._skipped.clear()
        return result


def moments(values: Tensor) -> dict[str, float]:
    """Return mean, std and count of ``values``, as :meth:`Statistics.take` does."""
    v = values.double()
    return {"num": v.numel(), "mean": float(v.mean()), "std": float(v.std(correction=0))}
