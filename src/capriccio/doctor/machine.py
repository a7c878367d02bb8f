"""Rules about what surrounds learning: reading the pictures, room on the disk, enough pictures for the aim."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from capriccio.doctor.finding import Finding
from capriccio.doctor.record import RunRecord
from capriccio.wording import counted

WAITING = "Timing/data"
"""Milliseconds that an iteration waits for its pictures."""

_WAITS, _WAITS_LONG = 0.2, 0.5
"""Share of the time that may be spent waiting for pictures."""

_CHECKPOINT_MARGIN = 1.1


def loader_bound(record: RunRecord) -> Finding | None:
    """The networks wait for pictures."""
    recent = record.recent()
    if recent is None:
        return None
    waited = sum((tick.mean(WAITING) or 0.0) * tick.count(WAITING) / 1000 for tick in recent.ticks)
    seconds = recent.total("Timing/sec_per_tick")
    if not seconds or waited / seconds < _WAITS:
        return None
    ways = {
        "none": "Do not decode every picture each time: --cache raw keeps decoded pixels on disk, --cache device in "
        "the memory of the GPU.",
        "raw": "The file of decoded pixels is read from a slow disk: point CAPRICCIO_CACHE at a fast one, or take "
        "--cache device where the pictures fit into memory.",
        "stream": "Shards come too slowly: bring them nearer, make them of pictures that are already small, or copy "
        "the set and train from the copy.",
    }
    return Finding(
        severity="warning" if waited / seconds < _WAITS_LONG else "serious",
        what="Training waits for pictures.",
        evidence=f"{waited:.0f} of {seconds:.0f} s ({waited / seconds:.0%}) went by reading pictures {recent}.",
        advice=ways.get(record.config.data.cache, ways["none"]),
    )


def knows_growth(record: RunRecord) -> bool:
    """Whether a checkpoint shows what the run writes, or nothing more will be written."""
    return record.nimg >= 1000 * record.config.total_kimg or bool(_checkpoints(record))


def disk_filling(record: RunRecord) -> Finding | None:
    """What the run will still write is more than there is room for."""
    checkpoints = _checkpoints(record)
    snapshots = _sizes(record.layout.saved_snapshots())
    left_kimg = record.config.total_kimg - record.nimg / 1000
    if not checkpoints or left_kimg <= 0:
        return None
    room, saving = record.room, record.config.saving
    next_checkpoint = round(checkpoints[-1] * _CHECKPOINT_MARGIN)
    if room < next_checkpoint:
        return Finding(
            severity="serious",
            what="The disk is full: the next checkpoint does not fit.",
            evidence=f"{_size(room)} are free, a checkpoint takes {_size(checkpoints[-1])} beside the old one.",
            advice="Free room now; what is learnt from here on cannot be saved. Old snapshots may be deleted by hand.",
        )
    per_kimg = max(_seconds_per_kimg(record) / (60 * saving.snapshot_minutes), 1 / saving.snapshot_kimg)
    coming = left_kimg * per_kimg
    sheets = _sizes([path for _, path in record.layout.sheets()])
    kept = coming if saving.keep_snapshots is None else min(coming, max(saving.keep_snapshots - len(snapshots), 0))
    snapshot_size = snapshots[-1] if snapshots else 0
    growth = kept * snapshot_size
    if saving.disk_budget_gb is not None:
        growth = min(growth, max(saving.disk_budget_gb * 1e9 - sum(checkpoints) - sum(snapshots), 0))
    growth += coming * (sheets[-1] if sheets else 0)
    needed = growth + next_checkpoint
    if needed <= room:
        return None
    return Finding(
        severity="warning",
        what="The disk will be full before the run ends.",
        evidence=f"{_size(room)} are free; the {left_kimg:,.0f} kimg to come need about {_size(needed)} (a snapshot "
        f"takes {_size(snapshot_size)}, a checkpoint {_size(checkpoints[-1])}).",
        advice=f"Resume with a smaller --saving.keep_snapshots (now {saving.keep_snapshots or 'all'}), a larger "
        f"--saving.snapshot_kimg (now {saving.snapshot_kimg:g}) or --saving.disk_budget_gb; or free room.",
    )


def too_few_pictures(record: RunRecord) -> Finding | None:
    """So few pictures, shown so often, end in a discriminator that knows them by heart."""
    count = record.num_pictures
    if count is None:
        return None
    augmented = record.config.augment.mode != "none"
    mirror = record.config.data.mirror
    times = record.config.total_kimg * 1000 / count
    enough, hardly = _ENOUGH[augmented, record.starts_from_other_network]
    different = count * (2 if mirror else 1)
    if different >= enough or times < (1000 if augmented else 100):
        return None
    steps = [] if augmented else ["train with --augment ada"]
    if not mirror:
        steps.append("double them with --mirror where left and right do not matter")
    if not record.starts_from_other_network:
        steps.append("start from a trained network with --init-from")
    steps.append("aim lower with --kimg and keep the best snapshot")
    return Finding(
        severity="serious" if different < hardly else "warning",
        what="There are too few pictures for the aim.",
        evidence=f"{counted(count, 'picture')}{', mirrored,' if mirror else ''} will be shown {times:,.0f} times each "
        f"by {record.config.total_kimg:g} kimg; so trained, some {enough:,} should be there.",
        advice="More pictures help most. Else " + "; or ".join(steps) + ".",
    )


_ENOUGH = {
    (False, False): (5000, 1000),
    (True, False): (1000, 100),
    (False, True): (1000, 200),
    (True, True): (200, 20),
}
"""(advisable, least) number of pictures, by (augmented, starts from another network).

From the orders of magnitude in Karras et al. 2020 (ADA): below some thousands a discriminator overfits within the first
million images, augmentation makes a thousand or two do, transfer a few hundred.
"""


def _checkpoints(record: RunRecord) -> list[int]:
    return _sizes(record.layout.saved_checkpoints())


def _sizes(paths: Sequence[Path]) -> list[int]:
    """Return the sizes in bytes of files, or of folders with all in them."""
    sizes = []
    for path in paths:
        parts = path.rglob("*") if path.is_dir() else (path,)
        with suppress(FileNotFoundError):  # the run that is looked at removes old ones
            sizes.append(sum(part.stat().st_size for part in parts if part.is_file()))
    return sizes


def _seconds_per_kimg(record: RunRecord) -> float:
    recent = record.recent()
    return (recent.mean("Timing/sec_per_kimg") or 0.0) if recent is not None else 0.0


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"
