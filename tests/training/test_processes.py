"""Several processes are one: the same numbers at the same total batch, on CPU over gloo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.training.test_kill import FINAL, ROOT, finished

TOLERANCE = 2e-5
"""Largest difference of any tensor after 20 iterations, as a share of its norm: sums are formed in another order."""

pytestmark = pytest.mark.slow


def launch(processes: int, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
               "-m", "tests.training.driver", *map(str, words)]  # fmt: skip
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def together(processes: int, *words: object) -> str:
    process = launch(processes, *words)
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0, out
    return out


def largest_difference(first: Path, second: Path) -> float:
    """Return the largest relative difference between the tensors of two runs: networks, averages and moments."""
    worst = 0.0
    for name in ("networks.safetensors", "optimizers.safetensors"):
        ours, theirs = (load_file(run / "checkpoints" / "checkpoint-000000" / name) for run in (first, second))
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            difference = float((tensor - theirs[key]).norm() / theirs[key].norm().clamp(min=1e-6))
            worst = max(worst, difference)
    return worst


def test_two_processes_train_the_network_of_one_and_resume_on_another_number(archive, tmp_path):
    finished(archive, tmp_path / "one", "--kimg", 0.08)  # 20 iterations, both regularisers included
    out = together(2, archive, tmp_path / "two", "--kimg", 0.08)
    assert "2 processes" in out
    assert largest_difference(tmp_path / "one", tmp_path / "two") < TOLERANCE

    together(2, archive, tmp_path / "fewer", "--kimg", 0.04)
    assert "Resumed" in finished(archive, tmp_path / "fewer", "--kimg", 0.08)
    assert largest_difference(tmp_path / "one", tmp_path / "fewer") < TOLERANCE

    finished(archive, tmp_path / "more", "--kimg", 0.04)
    assert "Resumed" in together(2, archive, tmp_path / "more", "--kimg", 0.08)
    assert largest_difference(tmp_path / "one", tmp_path / "more") < TOLERANCE
    assert load_file(tmp_path / "more" / FINAL).keys() == load_file(tmp_path / "one" / FINAL).keys()


def test_when_a_worker_is_killed_the_others_stop_and_say_so(archive, tmp_path):
    process = launch(2, archive, tmp_path / "run", "--kimg", 100, "--wait-at", 5)
    waiting = tmp_path / "run" / "waiting-1"
    deadline = time.monotonic() + 100
    while not (waiting.exists() and waiting.read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    killed = time.monotonic()
    os.kill(int(waiting.read_text()), signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert process.returncode != 0
    assert "WorkerError: another process of this run died or stopped answering" in out
    assert "start all processes again with --resume" in out
