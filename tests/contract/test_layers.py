"""Rooms import downwards only, as the layers contract of the project says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_layers_contract_is_kept():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_says_what_it_is_for():
    for module in (ROOT / "src" / "capriccio").rglob("*.py"):
        assert module.read_text(encoding="utf-8").startswith('"""'), f"{module} has no title"
