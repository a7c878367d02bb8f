"""A tick: what a run says of itself every so often, as numbers for stats.jsonl and as a line for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from capriccio.devices import most_resident_bytes
from capriccio.training.overfitting import Overfitting
from capriccio.training.state import TrainingState
from capriccio.training.statistics import moments
from capriccio.wording import duration


@dataclass(frozen=True, slots=True)
class Tick:
    """The part of a run since the last tick, or since the session began."""

    index: int
    images: int
    seconds: float
    epochs: float
    """Passes over the data set since the beginning of the run."""
    total_nimg: int
    """Length of the run."""
    overfitting: Overfitting | None
    """How held-out pictures fare; None where nothing is held out."""

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / max(self.seconds, 1e-9)

    def values(
        self, collected: Mapping[str, dict[str, float]], state: TrainingState, memory: Mapping[str, float]
    ) -> dict[str, Any]:
        """Return what was collected and what the run knows, by the names of the field (spec of ``stats.jsonl``)."""
        values: dict[str, Any] = dict(collected)
        if self.overfitting is not None:
            values["Loss/scores/heldout"] = moments(self.overfitting.heldout)
            values["Loss/signs/heldout"] = moments(self.overfitting.heldout.sign())
        known = {
            "Progress/tick": float(self.index),
            "Progress/kimg": state.nimg / 1000,
            "Progress/epochs": self.epochs,
            "Progress/pl_mean": float(state.pl_mean),
            "Progress/augment": state.augmentation.p,
            "Progress/augment_capped_kimg": state.augmentation.capped_nimg(state.nimg) / 1000,
            "Progress/r_t": collected["Loss/signs/real"]["mean"] if "Loss/signs/real" in collected else math.nan,
            "Progress/r_v": math.nan if self.overfitting is None else self.overfitting.r_v,
            "Timing/sec_per_tick": self.seconds,
            "Timing/sec_per_kimg": 1000 / self.rate,
            "Timing/images_per_sec": self.rate,
            "Timing/total_sec": state.seconds,
            "Timing/total_hours": state.seconds / 3600,
            "Timing/total_days": state.seconds / 86400,
            **memory,
        }
        return values | {name: {"num": 1, "mean": value, "std": 0.0} for name, value in known.items()}

    def line(self, values: Mapping[str, Any], state: TrainingState) -> str:
        """Return the line of the log, from the numbers of :meth:`values`."""

        def mean(name: str) -> str:
            return f"{values[name]['mean']:.3f}" if name in values else "  -  "

        r_v = values["Progress/r_v"]["mean"]
        return (
            f"tick {self.index:<5d} kimg {state.nimg / 1000:<9.1f} {self.rate:7.1f} img/s  epoch {self.epochs:<7.2f} "
            f"G {mean('Loss/G/loss')}  D {mean('Loss/D/loss')}  r_t {mean('Loss/signs/real')}  "
            + (f"r_v {r_v:.3f}  " if math.isfinite(r_v) else "")
            + (f"p {state.augmentation.p:.3f}  " if state.augmentation.is_adaptive else "")
            + f"R1 {mean('Loss/r1_penalty')}  pl {float(state.pl_mean):.3f}  time {duration(state.seconds)}  "
            f"left {duration((self.total_nimg - state.nimg) / self.rate)}"
        )


def memory_use(device: torch.device) -> dict[str, float]:
    """Return the most memory used until now, in GiB, by the names of the field."""
    resident = most_resident_bytes()
    values = {} if resident is None else {"Resources/cpu_mem_gb": resident / 2**30}
    if device.type == "cuda":
        values["Resources/peak_gpu_mem_gb"] = torch.cuda.max_memory_allocated(device) / 2**30
        values["Resources/peak_gpu_mem_reserved_gb"] = torch.cuda.max_memory_reserved(device) / 2**30
    return values
