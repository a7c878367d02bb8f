"""The folder of a run: what lies where, whose it is, and how much of it is kept."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import yaml

from capriccio import __version__
from capriccio.config import RunConfig, SavingConfig, to_dict
from capriccio.durable import replacing
from capriccio.errors import RunError

_MAY_CHANGE = ("total_kimg", "saving", "precision", "compile", "batch_per_round")
"""Settings that a resumed run may be given anew: they do not decide what is learnt, or only in rounding."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Everything needed to resume."""
        return self.path / "checkpoints"

    @property
    def snapshots(self) -> Path:
        """Networks for users."""
        return self.path / "snapshots"

    @property
    def samples(self) -> Path:
        """Sheets of real and generated pictures."""
        return self.path / "samples"

    def snapshot(self, nimg: int) -> Path:
        """Path of the snapshot at ``nimg`` images; a later one of the same kimg replaces it."""
        return self.snapshots / f"snapshot-{nimg // 1000:06d}.safetensors"

    def open(self, config: RunConfig, *, resume: bool) -> None:
        """Make the folder, or make sure that it is the folder of this very run.

        Raises: RunError if it holds another run, or one that was not asked to be resumed.
        """
        if self.config.exists():
            if not resume:
                raise RunError(
                    f"'{self.path}' already holds a run; add --resume to go on with it, or choose another folder."
                )
            self._check_same_run(config)
        elif self.path.exists() and any(self.path.iterdir()):
            raise RunError(f"'{self.path}' is not empty and holds no run; choose another folder.")
        for folder in (self.path, self.checkpoints, self.snapshots, self.samples):
            folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.config) as file:
            file.write(yaml.safe_dump(to_dict(config), sort_keys=False).encode())

    def note_session(self, facts: dict[str, Any]) -> None:
        """Append this session's machine and versions to environment.json."""
        path = self.path / "environment.json"
        sessions = []
        if path.exists():
            try:
                sessions = json.loads(path.read_text())["sessions"]
            except (ValueError, KeyError, TypeError):
                path.rename(path.with_suffix(".damaged"))
        sessions.append(environment() | facts)
        with replacing(path) as file:
            file.write(json.dumps({"sessions": sessions}, indent=1).encode())

    def prune_snapshots(self, saving: SavingConfig) -> list[str]:
        """Remove the oldest snapshots beyond the number and the disk budget; the newest always stays."""
        snapshots = sorted(self.snapshots.glob("snapshot-*.safetensors"))
        removed = []
        while len(snapshots) > 1 and self._is_over(saving, len(snapshots)):
            oldest = snapshots.pop(0)
            oldest.unlink()
            removed.append(oldest.name)
        return removed

    def _is_over(self, saving: SavingConfig, count: int) -> bool:
        if saving.keep_snapshots is not None and count > saving.keep_snapshots:
            return True
        if saving.disk_budget_gb is None:
            return False
        total = sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file())
        return total > saving.disk_budget_gb * 1e9

    def _check_same_run(self, config: RunConfig) -> None:
        try:
            before = yaml.safe_load(self.config.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise RunError(f"'{self.config}' cannot be read; restore it or choose another folder.") from error
        differing = [
            name
            for name, value in to_dict(config).items()
            if name not in _MAY_CHANGE and isinstance(before, dict) and before.get(name) != value
        ]
        if not isinstance(before, dict) or differing:
            what = f"its settings differ in: {', '.join(differing)}" if differing else "its configuration is damaged"
            raise RunError(f"'{self.path}' holds another run ({what}); choose another folder, or the same settings.")


def environment() -> dict[str, Any]:
    """Return the facts of this machine and session that a snapshot must not contain."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "host": platform.node(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {
            "capriccio": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
    }
