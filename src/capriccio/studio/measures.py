"""What the server counts, and how Prometheus reads it.

Source: Prometheus text exposition format 0.0.4.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Measures:
    """Counters; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(_SECONDS) + 1)
        self._seconds = 0.0
        self._pictures = self._batches = 0
        self._painting = 0.0

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; ``route`` is the address's pattern, never what a client wrote."""
        with self._lock:
            self._answers[route, status] += 1
            self._buckets[bisect_left(_SECONDS, seconds)] += 1
            self._seconds += seconds

    def painted(self, pictures: int, seconds: float) -> None:
        """Count a batch."""
        with self._lock:
            self._pictures += pictures
            self._batches += 1
            self._painting += seconds

    def page(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Return all counters, and ``gauges`` (name: what it is, value)."""
        with self._lock:
            lines = ["# HELP capriccio_answers_total Answers by route and status.",
                     "# TYPE capriccio_answers_total counter"]  # fmt: skip
            lines += [
                f'capriccio_answers_total{{route="{route}",status="{status}"}} {count}'
                for (route, status), count in sorted(self._answers.items())
            ]
            lines += ["# HELP capriccio_answer_seconds Time from request to answer.",
                      "# TYPE capriccio_answer_seconds histogram"]  # fmt: skip
            total = 0
            for bound, count in zip([*map(str, _SECONDS), "+Inf"], self._buckets, strict=True):
                total += count
                lines.append(f'capriccio_answer_seconds_bucket{{le="{bound}"}} {total}')
            lines += [f"capriccio_answer_seconds_sum {self._seconds:.6f}", f"capriccio_answer_seconds_count {total}"]
            counters = {
                "pictures_painted_total": ("Pictures painted.", self._pictures),
                "batches_painted_total": ("Batches painted; pictures a batch tell the load.", self._batches),
                "painting_seconds_total": ("Time the device painted.", round(self._painting, 6)),
            }
        for kind, values in (("counter", counters), ("gauge", {**gauges, **_memory()})):
            for name, (about, value) in values.items():
                full = f"capriccio_{name}"
                lines += [f"# HELP {full} {about}", f"# TYPE {full} {kind}", f"{full} {value}"]
        return "\n".join(lines) + "\n"


def _memory() -> dict[str, tuple[str, float]]:
    try:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return {}
    return {"resident_bytes": ("Memory of the process.", pages * os.sysconf("SC_PAGE_SIZE"))}
