"""Several processes are one: the same numbers at the same total batch, on CPU over gloo."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from capriccio.snapshots.snapshot import read_header
from tests.training.test_kill import FINAL, ROOT, finished

NETWORK_TOLERANCE = 2e-4
"""Largest difference of any number of the networks after 20 iterations, a tenth of one step of Adam: sums are
formed in another order, and Adam passes on the sign of gradients near zero."""

MOMENT_TOLERANCE = 1e-4
"""The same for Adam's moments, as a share of the norm of their tensor."""

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


def assert_like(run: Path, reference: Path) -> None:
    """Compare networks, average, path-length mean and moments of two runs."""

    def both(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        mine, theirs = (load_file(folder / "checkpoints" / "checkpoint-000000" / name) for folder in (run, reference))
        assert mine.keys() == theirs.keys()
        return mine, theirs

    ours, expected = both("networks.safetensors")
    assert max(float((t - expected[name]).abs().max()) for name, t in ours.items()) < NETWORK_TOLERANCE
    ours, expected = both("optimizers.safetensors")
    shares = [(t - expected[name]).norm() / expected[name].norm().clamp(min=1e-9) for name, t in ours.items()]
    assert float(max(shares)) < MOMENT_TOLERANCE


def test_two_processes_train_the_network_of_one_and_resume_on_another_number(archive, tmp_path):
    finished(archive, tmp_path / "one", "--kimg", 0.08)  # 20 iterations, both regularisers included
    out = together(2, archive, tmp_path / "two", "--kimg", 0.08)
    assert "2 processes" in out
    assert_like(tmp_path / "two", tmp_path / "one")

    together(2, archive, tmp_path / "changing", "--kimg", 0.028)
    assert "Resumed" in finished(archive, tmp_path / "changing", "--kimg", 0.056)
    assert "Resumed" in together(2, archive, tmp_path / "changing", "--kimg", 0.08)
    assert_like(tmp_path / "changing", tmp_path / "one")
    assert load_file(tmp_path / "changing" / FINAL).keys() == load_file(tmp_path / "one" / FINAL).keys()


def test_the_others_wait_for_the_main_one_longer_than_for_each_other(tmp_path):
    (tmp_path / "program.py").write_text(
        """
import time
from datetime import timedelta
import torch
from capriccio import processes as module

module.COLLECTIVE_TIMEOUT = timedelta(seconds=3)
with module.joined_processes(torch.device("cpu")) as processes:
    def prepare():
        time.sleep(8 if processes.is_main else 0)
        return time.monotonic()
    first, second = processes.gather(processes.main_first(prepare))
    print("in order" if first <= second else "at once")
"""
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    told = subprocess.run(
        [*command, str(tmp_path / "program.py")], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True
    )
    assert told.stdout.splitlines() == ["in order"] * 2


def test_two_processes_augment_as_one_does(archive, tmp_path):
    finished(archive, tmp_path / "one", "--kimg", 0.08, "--augment")
    together(2, archive, tmp_path / "two", "--kimg", 0.08, "--augment")
    assert_like(tmp_path / "two", tmp_path / "one")
    one, two = (read_header(tmp_path / name / FINAL)["augment_p"] for name in ("one", "two"))
    assert one == two > 0


THREADS_AFTERWARDS = """
import importlib, os, sys
from pathlib import Path
import torch
from capriccio.errors import WorkerError
from capriccio.processes import joined_processes

def threads():
    return [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]

try:
    with joined_processes(torch.device("cpu")) as processes:
        importlib.import_module("torch._dynamo")  # as the first gradient of a gradient does
        processes.sum(torch.ones(3))
        assert any("gloo" in name for name in threads()), threads()
        if sys.argv[1] == "failing":
            if processes.rank == 1:
                raise KeyError("a mistake")
            processes.sum(torch.ones(3))
except (WorkerError, KeyError) as error:
    print(type(error).__name__, [name for name in threads() if "gloo" in name])
else:
    print("well", [name for name in threads() if "gloo" in name])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at threads by name where Linux lists them")
@pytest.mark.parametrize(("how", "told"), [("well", ["well", "well"]), ("failing", ["WorkerError", "KeyError"])])
def test_threads_of_the_exchange_end_with_it(how, told):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = []
    for rank in range(2):
        command = [sys.executable, "-c", THREADS_AFTERWARDS, how]
        environment = os.environ | group | {"RANK": str(rank)}
        processes.append(subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ))  # fmt: skip
    said = [process.communicate(timeout=100)[0] for process in processes]
    assert said == [f"{name} []\n" for name in told]
    assert [process.returncode for process in processes] == [0, 0]


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
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "another process of this run died or stopped answering" in log, out
    assert "start all processes again with --resume" in log
    assert log.splitlines()[-1] in out
