from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from capriccio.training.greeting import is_worth_compiling
from tests.training.tiny import run_config


@pytest.mark.parametrize(
    ("device", "changes", "expected"),
    [("cuda", {}, True), ("cuda", {"compile": True}, False), ("cuda", {"total_kimg": 20}, False), ("cpu", {}, False)],
)
def test_long_runs_on_a_gpu_hear_of_compiling(device, changes, expected):
    config = replace(run_config(total_kimg=5000), **changes)
    assert is_worth_compiling(config, torch.device(device)) is expected
