"""What lies where in the folder of a run: for training, which writes it, and for all who look at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunLayout:
    """Paths of one run, which need not be there."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration; a folder with it holds a run."""
        return self.path / "config.yaml"

    @property
    def statistics(self) -> Path:
        """A line of numbers for each tick."""
        return self.path / "stats.jsonl"

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.path / "log.txt"

    @property
    def environment(self) -> Path:
        """Machine, versions and command line of every session."""
        return self.path / "environment.json"

    @property
    def best(self) -> Path:
        """Which snapshot measured best."""
        return self.path / "best.json"

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

    @property
    def travelling(self) -> Path:
        """The newest snapshot in half precision, to go on from on another machine."""
        return self.path / "travelling.safetensors"

    @property
    def reals(self) -> Path:
        """The sheet of training pictures."""
        return self.samples / "reals.png"

    def snapshot(self, nimg: int) -> Path:
        """Path of the snapshot at ``nimg`` images; a later one of the same kimg replaces it."""
        return self.snapshots / f"snapshot-{nimg // 1000:06d}.safetensors"

    def sheet(self, nimg: int) -> Path:
        """Path of the sheet of pictures generated at ``nimg`` images; a later one of the same kimg replaces it."""
        return self.samples / f"fakes-{nimg // 1000:06d}.png"

    def saved_snapshots(self) -> list[Path]:
        """Return the snapshots that are there, oldest first."""
        return sorted(self.snapshots.glob("snapshot-*.safetensors"))

    def saved_checkpoints(self) -> list[Path]:
        """Return the checkpoints that are there, oldest first."""
        return sorted(self.checkpoints.glob("checkpoint-*"))

    def sheets(self) -> list[tuple[int, Path]]:
        """Return the sheets of generated pictures that are there with their kimg, oldest first."""
        named = [(path.stem.removeprefix("fakes-"), path) for path in self.samples.glob("fakes-*.png")]
        return sorted((int(kimg), path) for kimg, path in named if kimg.isdecimal())
