"""Rules about what the generator paints: too little variety, and augmentations among the pictures."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np

from capriccio.config import ImageShape
from capriccio.doctor.finding import Finding
from capriccio.doctor.learning import REAL_SIGNS
from capriccio.doctor.record import RunRecord
from capriccio.doctor.sheets import Traits, Variety, read_sheet, traits, variety

AUGMENT_P = "Progress/augment"
"""p: probability of each augmentation."""

_EARLIEST_KIMG = 20
_EARLIEST_SHARE = 0.1
"""Variety grows while a run is young: it is judged after this many images, or this share of a shorter run."""

_LITTLE_VARIETY, _LEAST_VARIETY = 0.55, 0.3
_ALIKE, _TWINS = 0.35, 0.15
"""Shares of the data's distances: over all pairs, and to the most similar picture."""

_LEAKING_P = 0.1
_HARDLY_ANY_P = 0.05
_RISKY_P = 0.5
"""Above it most pictures are augmented several times over: what cannot be told from the original may leak."""

_WIDER = 1.5
"""How much wider than in the data a trait may be spread."""

_SURE = 4.0
"""Standard errors that a difference must have."""

_AS_WIDE_BEFORE = 0.8
"""A trait spread so much of today's width before anything was augmented is what the network has not learnt yet."""

_AT_THE_CAP = 0.99
_ABOVE_TARGET = 0.05


def has_sheets(record: RunRecord) -> bool:
    """Whether there is a sheet old enough to be judged, and one of real pictures to hold it against."""
    _, path = _newest_sheet(record)
    shape = record.config.generator.shape
    return path is not None and None not in (_variety_of(record.layout.reals, shape), _variety_of(path, shape))


def mode_collapse(record: RunRecord) -> Finding | None:
    """Generated pictures are more alike than real ones."""
    kimg, path = _newest_sheet(record)
    if path is None:
        return None
    shape = record.config.generator.shape
    real, fake = _variety_of(record.layout.reals, shape), _variety_of(path, shape)
    if real is None or fake is None or not real.mean_distance or not real.nearest_distance:
        return None
    pairs = fake.mean_distance / real.mean_distance
    nearest = fake.nearest_distance / real.nearest_distance
    if pairs >= _LITTLE_VARIETY and nearest >= _ALIKE:
        return None
    grave = pairs < _LEAST_VARIETY or nearest < _TWINS
    return Finding(
        severity="serious" if grave else "warning",
        what="Mode collapse: the generator paints the same few pictures.",
        evidence=f"In {path.name} (kimg {kimg}) two pictures differ {pairs:.0%} as much as two of the data, and the "
        f"most similar ones {nearest:.0%} as much{_best_variety(record, real, nearest)}.",
        advice="Go back to the most varied snapshot with --init-from; raise --gamma (now "
        f"{record.config.loss.r1_gamma:g}) twofold; with few pictures train with --augment ada. A narrow data set, "
        "or one with many duplicates, collapses more easily.",
    )


def augmentation_leaking(record: RunRecord) -> Finding | None:
    """Samples show what only augmentations do, or p is so high for so long that they may."""
    recent = record.recent()
    p = None if recent is None else recent.mean(AUGMENT_P)
    if recent is None or p is None or p < _LEAKING_P:
        return None
    kimg, path = _newest_sheet(record)
    shape = record.config.generator.shape
    real = _traits_of(record.layout.reals, shape)
    fake = None if path is None else _traits_of(path, shape)
    before = _traits_before_augmentation(record)
    shown = [] if path is None or real is None or fake is None else _leaks(real, fake, before)
    augment = record.config.augment
    lower = f"--augment.cap (now {augment.cap:g})" if augment.mode == "ada" else f"--augment.p (now {augment.p:g})"
    advice = (
        f"Lower {lower}, take a smaller --augment.pipe (now {augment.pipe}), or switch off the transformation that "
        "shows, such as --augment.transformations.rotate90 0. More pictures lower p by themselves."
    )
    if path is not None and shown:
        return Finding(
            severity="serious",
            what="Augmentations leak: generated pictures show what was done to the real ones.",
            evidence=f"In {path.name} (kimg {kimg}) {'; '.join(shown)}; p was {p:.2f} {recent}.",
            advice=advice,
        )
    if p <= _RISKY_P:
        return None
    looked = "the samples do not show it yet" if path is not None and fake is not None else "look at the samples"
    return Finding(
        severity="note",
        what="Augmentation is strong enough to leak into the generated pictures.",
        evidence=f"p was {p:.2f} {recent}; {looked}.",
        advice=f"Watch samples/ for turned, tinted or cut-out pictures. {advice}",
    )


def augmentation_saturated(record: RunRecord) -> Finding | None:
    """Adaptive augmentation stands at its cap and the discriminator overfits none the less."""
    recent, augment = record.recent(), record.config.augment
    if recent is None or augment.mode != "ada":
        return None
    p, r_t = recent.values(AUGMENT_P), recent.mean(REAL_SIGNS)
    if not p or r_t is None or min(p) < augment.cap * _AT_THE_CAP or r_t < augment.target + _ABOVE_TARGET:
        return None
    return Finding(
        severity="warning",
        what="Augmentation is saturated: it cannot be made stronger, and does not suffice.",
        evidence=f"p stood at its cap of {augment.cap:g}, and r_t at {r_t:.2f} instead of {augment.target:g} {recent}.",
        advice="More pictures, or a start from a trained network (--init-from with --freeze-d), help where "
        "augmentation no longer does; the best snapshot may be an earlier one.",
    )


# ---- evidence in sheets


def _newest_sheet(record: RunRecord) -> tuple[int, Path | None]:
    """Return kimg and path of the newest sheet that is old enough to be judged."""
    kimg, path = max(record.layout.sheets(), default=(0, None))
    return (kimg, path) if path is not None and kimg >= _judged_from(record) else (kimg, None)


def _judged_from(record: RunRecord) -> float:
    """Return the kimg from which sheets can be judged."""
    return max(min(_EARLIEST_KIMG, _EARLIEST_SHARE * record.config.total_kimg), 1)


def _traits_before_augmentation(record: RunRecord) -> Traits | None:
    """Return the traits of the newest sheet up to which hardly anything was augmented; None = there is none.

    Nor is there one of a run that began as another network with p = 0: that one's augmentations may show.
    """
    if record.was_told("--init-from"):
        return None
    augmented = [tick.nimg for tick in record.ticks if not (tick.mean(AUGMENT_P) or 0.0) < _HARDLY_ANY_P]
    until = min(augmented, default=math.inf) / 1000
    calm = [(kimg, path) for kimg, path in record.layout.sheets() if _judged_from(record) <= kimg < until]
    return _traits_of(max(calm)[1], record.config.generator.shape) if calm else None


def _best_variety(record: RunRecord, real: Variety, now: float) -> str:
    """Say where in the run the pictures were most varied, if they were clearly more so than ``now``."""
    shape = record.config.generator.shape
    seen = [(v.nearest_distance / real.nearest_distance, kimg)
            for kimg, path in record.layout.sheets()[1:]  # the first shows an untrained network
            if (v := _variety_of(path, shape)) is not None]  # fmt: skip
    best, kimg = max(seen, default=(0.0, 0))
    return f"; the most varied sheet is that of kimg {kimg}, {best:.0%}" if best > now * 1.1 + 0.01 else ""


def _leaks(real: Traits, fake: Traits, before: Traits | None) -> list[str]:
    """Say which traits of generated pictures are spread wider than those of real ones, and than ``before``.

    A trait whose mean moved says nothing: so it is with every network that has not learnt enough. Nor does one that was
    spread as wide before anything was augmented.
    """
    found = []
    deviation_error = math.sqrt(1 / (2 * len(real.values)) + 1 / (2 * len(fake.values)))
    for column, name in enumerate(real.names):
        spread, now = float(np.std(real.values[:, column])), float(np.std(fake.values[:, column]))
        if spread == 0 or (before is not None and np.std(before.values[:, column]) > _AS_WIDE_BEFORE * now):
            continue
        wider = now / spread
        if wider > max(_WIDER, math.exp(_SURE * deviation_error)):
            found.append(f"{name} is spread {wider:.1f} times as wide as in the data")
    return found


def _variety_of(path: Path, shape: ImageShape) -> Variety | None:
    return _variety_once(path, shape, _changed(path))


def _traits_of(path: Path, shape: ImageShape) -> Traits | None:
    return _traits_once(path, shape, _changed(path))


def _changed(path: Path) -> int | None:
    """Return when a sheet was written: while a run goes on the same sheets are asked for at every tick."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _variety_once(path: Path, shape: ImageShape, changed: int | None) -> Variety | None:
    pictures = None if changed is None else read_sheet(path, shape)
    return None if pictures is None else variety(pictures)


@lru_cache(maxsize=16)
def _traits_once(path: Path, shape: ImageShape, changed: int | None) -> Traits | None:
    pictures = None if changed is None else read_sheet(path, shape)
    return None if pictures is None else traits(pictures)
