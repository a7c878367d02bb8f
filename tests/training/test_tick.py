"""What a tick says of a run."""

from __future__ import annotations

from capriccio.training.tick import memory_use
from tests.training.tiny import CPU


def test_memory_is_told_in_gibibytes():
    assert 0.05 < memory_use(CPU)["Resources/cpu_mem_gb"] < 100
