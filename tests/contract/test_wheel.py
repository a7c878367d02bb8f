"""The wheel holds the package, its typing mark, both licences, and nothing else."""

from __future__ import annotations

import os
import shutil
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


@pytest.mark.slow
def test_a_wheel_without_weights_trains_and_paints(tmp_path):
    source, installed = tmp_path / "source", tmp_path / "installed"
    weights = shutil.ignore_patterns("*.safetensors", "*.directions.json", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=weights)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(installed)

    environment = os.environ | {
        "PYTHONPATH": str(installed), "CAPRICCIO_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def capriccio_says(*words):
        command = [sys.executable, "-m", "capriccio", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    small = ["--generator.channel_base", "256", "--discriminator.channel_base", "256", "--kimg", "0.032"]
    for words in (
        ["dataset", "synth", "painted.zip", "--count", "24", "--size", "16"],
        ["train", "painted.zip", "--out", "run", "--preset", "laptop", *small],
        ["generate", "--model", "run", "--seeds", "0-1"],
    ):
        done = capriccio_says(*words)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "generated" / "grid.png").is_file()
    done = capriccio_says("generate")
    assert done.returncode == 2
    assert "this installation comes without a bundled model; name one with --model." in done.stderr
