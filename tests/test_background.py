"""Jobs in threads that nobody waits for at the end."""

from __future__ import annotations

import subprocess
import sys

import pytest

from capriccio.background import in_background


def test_the_result_comes_out() -> None:
    assert in_background(lambda: 6 * 7, name="answer").result(timeout=10) == 42


def test_whatever_is_raised_comes_out() -> None:
    def fail() -> None:
        raise KeyError("shard")

    with pytest.raises(KeyError, match="shard"):
        in_background(fail, name="failing").result(timeout=10)


def test_a_process_leaves_without_waiting_for_its_jobs() -> None:
    program = "import time; from capriccio.background import in_background as do; do(lambda: time.sleep(600), name='x')"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_it_needs_no_torch() -> None:
    program = "import sys, capriccio.background; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
