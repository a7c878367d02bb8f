"""The wheel holds the package, its typing mark, both licences, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import capriccio

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_wheel_builds_and_holds_what_it_should(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wheel = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    names = set(wheel.namelist())

    sources = {p.relative_to(ROOT / "src").as_posix() for p in (ROOT / "src" / "capriccio").rglob("*.py")}
    assert sources <= names
    assert {"capriccio/py.typed", "capriccio/models/LICENSE"} <= names
    home = f"capriccio-{capriccio.__version__}.dist-info"
    assert {n for n in names if not n.startswith(("capriccio/", f"{home}/"))} == set()
    assert not [n for n in names if "__pycache__" in n]

    metadata = wheel.read(f"{home}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert (ROOT / "LICENSE").read_bytes() == wheel.read(f"{home}/licenses/LICENSE")
    assert "evaluation and research" in wheel.read(f"{home}/licenses/src/capriccio/models/LICENSE").decode()
    assert "capriccio = capriccio.cli.main:main" in wheel.read(f"{home}/entry_points.txt").decode()
