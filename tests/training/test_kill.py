"""A run that is killed at random moments and resumed ends with the very bytes of one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FINAL = Path("snapshots") / "snapshot-000000.safetensors"


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.training.driver", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finished(*words: object) -> str:
    process = start(*words)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def unfinished_writing(run: Path) -> list[str]:
    folder = run / "checkpoints"
    return [p.name for p in folder.iterdir() if p.suffix in (".partial", ".replaced")] if folder.is_dir() else []


def kill_and_resume(archive: Path, folder: Path, kills: int, *, seed: int) -> int:
    """Kill runs ``kills`` times, beginning a new one after the end; return how often a checkpoint was half written.

    Every run that got to its end is compared with one that was never interrupted.
    """
    rng = random.Random(seed)
    whole = folder / "whole"
    finished(archive, whole)
    expected = (whole / FINAL).read_bytes()
    hit = done = number = 0
    run = folder / "run-0"
    while done < kills:
        process = start(archive, run, "--slow")
        # Kills before the first line would only test the import of PyTorch.
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=rng.uniform(0.0, 1.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            done += 1
            hit += bool(unfinished_writing(run))
            continue
        assert process.returncode == 0
        assert (run / FINAL).read_bytes() == expected
        number += 1
        run = folder / f"run-{number}"
    finished(archive, run)
    assert (run / FINAL).read_bytes() == expected
    assert not unfinished_writing(run)
    return hit


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_bit_identical(archive, tmp_path):
    kill_and_resume(archive, tmp_path, 4, seed=0)


@pytest.mark.slow
def test_a_run_killed_inside_the_writing_of_a_checkpoint_ends_bit_identical(archive, tmp_path):
    finished(archive, tmp_path / "whole")
    process = start(archive, tmp_path / "run", "--slow")
    deadline = time.monotonic() + 60
    while not unfinished_writing(tmp_path / "run"):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert unfinished_writing(tmp_path / "run")
    finished(archive, tmp_path / "run")
    assert (tmp_path / "run" / FINAL).read_bytes() == (tmp_path / "whole" / FINAL).read_bytes()


@pytest.mark.soak
def test_a_thousand_kills(archive, tmp_path):
    assert kill_and_resume(archive, tmp_path, 1000, seed=1) > 100


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_saves_and_leaves_when_told_to_stop(number, code, archive, tmp_path):
    line = ["train", archive, "--out", tmp_path / "run", "--preset", "tiny", "--kimg", "100", "--holdout", "0"]
    command = [sys.executable, "-m", "capriccio", *map(str, line), "--precision", "fp32", "--resume"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    while not process.stdout.readline().startswith("tick 0"):
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, (out, err)
    assert "everything is saved: the same command with --resume goes on" in err
    assert "Traceback" not in err
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["checkpoint-000000"]


@pytest.mark.slow
def test_a_second_session_in_the_same_folder_is_refused(archive, tmp_path):
    first = start(archive, tmp_path / "run", "--kimg", 100)
    assert first.stdout is not None
    while not first.stdout.readline().startswith("tick 0"):
        assert first.poll() is None
    second = start(archive, tmp_path / "run", "--kimg", 100)
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "another process is training in" in out
    first.kill()
    first.communicate()
    finished(archive, tmp_path / "run", "--kimg", 0.008)
