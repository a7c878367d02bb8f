"""The folder of a run: what lies where, whose it is, and how much of it is kept."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import PIL
import torch
import yaml

from capriccio import __version__
from capriccio.config import RunConfig, SavingConfig, from_dict, to_dict
from capriccio.durable import lock_file, replacing
from capriccio.errors import RunError
from capriccio.run_layout import RunLayout

_MAY_CHANGE = (
    "total_kimg", "saving", "evaluation", "precision", "compile", "cuda_graphs", "forms", "batch_per_round",
)  # fmt: skip
"""Settings that a resumed run may be given anew: they do not decide what is learnt, or only in rounding; the size of
rounds, which memory may force, in the draws as well."""

_MAY_CHANGE_OF_DATA = ("path", "cache")
"""Pictures may move: whether they are the same is seen from their hash."""

_SHOWN = 4
"""Settings that are named where a folder holds another run."""


class RunFolder(RunLayout):
    """The folder of one run, as training uses it."""

    def open(self, config: RunConfig, *, resume: bool) -> None:
        """Make the folder, or make sure that it is the folder of this very run, if that has saved anything yet.

        Raises: RunError if it holds another run, or one that was not asked to be resumed.
        """
        if self.config.exists():
            if not resume:
                raise RunError(
                    f"'{self.path}' already holds a run; add --resume to go on with it, or choose another folder."
                )
            if self.has_saved:
                self._check_same_run(config)
        elif self.path.exists() and any(self.path.iterdir()):
            raise RunError(f"'{self.path}' is not empty and holds no run; choose another folder.")
        for folder in (self.path, self.checkpoints, self.snapshots, self.samples):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.config.exists():
            self.write_config(config)

    @property
    def has_saved(self) -> bool:
        """Whether a run has got so far that it can be gone on with: one that failed at its start may be begun anew."""
        return any(any(folder.glob("*")) for folder in (self.checkpoints, self.snapshots))

    def begun_with(self) -> RunConfig | None:
        """Return the configuration of the run that lies here, None if there is none. Raises: RunError if unreadable."""
        if not self.config.exists():
            return None
        try:
            # By way of the class, so that settings which are newer than the run have the values it ran with.
            return from_dict(RunConfig, yaml.safe_load(self.config.read_text()))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise RunError(f"'{self.config}' cannot be read; restore it or choose another folder.") from error

    def write_config(self, config: RunConfig) -> None:
        """Write the resolved configuration; of a resumed run once it is known to be the same run."""
        with replacing(self.config) as file:
            file.write(yaml.safe_dump(to_dict(config), sort_keys=False).encode())

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder for this process: two sessions in one folder would spoil each other's files.

        The claim ends with the process, however it ends. Raises: RunError if another process trains here.
        """
        with open(self.path / ".claimed", "w", encoding="utf-8") as file:
            try:
                lock_file(file.fileno())
            except OSError as error:
                raise RunError(f"another process is training in '{self.path}'; wait for it or stop it.") from error
            yield

    def note_session(self, facts: dict[str, Any]) -> None:
        """Append this session's machine and versions to environment.json."""
        path = self.environment
        sessions = []
        if path.exists():
            try:
                sessions = json.loads(path.read_text())["sessions"]
            except (ValueError, KeyError, TypeError):
                path.rename(path.with_suffix(".damaged"))
        sessions.append(environment() | facts)
        with replacing(path) as file:
            file.write(json.dumps({"sessions": sessions}, indent=1).encode())

    def prune_snapshots(self, saving: SavingConfig, *, best: str | None = None) -> list[str]:
        """Remove the oldest snapshots beyond the number and the disk budget; the newest and the best always stay."""
        snapshots = self.saved_snapshots()
        removable = [path for path in snapshots[:-1] if path.name != best]
        removed: list[str] = []
        while removable and self._is_over(saving, len(snapshots) - len(removed)):
            oldest = removable.pop(0)
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
        before = self.begun_with()
        assert before is not None, "called where a configuration lies"
        old, new = _decisive(before), _decisive(config)
        differing = [f"{name} is {old[name]} there and {new[name]} now" for name in sorted(new)
                     if old.get(name) != new[name]]  # fmt: skip
        if differing:
            more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
            raise RunError(
                f"'{self.path}' holds another run (its settings differ: {', '.join(differing[:_SHOWN])}{more}); "
                "choose another folder, or the same settings."
            )


def _decisive(config: RunConfig) -> dict[str, Any]:
    """Return the settings that decide what is learnt, by dotted name."""
    settings = {name: value for name, value in to_dict(config).items() if name not in _MAY_CHANGE}
    settings["data"] = {name: value for name, value in settings["data"].items() if name not in _MAY_CHANGE_OF_DATA}
    return dict(_leaves(settings))


def _leaves(settings: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


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
