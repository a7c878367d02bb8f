"""Tunings beside projections: the second pass of ``capriccio project --tune`` over a folder of projected pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from capriccio.durable import replacing
from capriccio.errors import SnapshotError
from capriccio.inversion.pivotal import PivotalTuner, Tuned, TuningSettings
from capriccio.inversion.project import OnStep
from capriccio.inversion.targets import Target, to_images
from capriccio.latent.files import Latents, load_latents, save_latents
from capriccio.loading.model import Model
from capriccio.perception.protocols import PerceptualDistance
from capriccio.provenance import Provenance
from capriccio.rendering.grids import enlarge, image_grid, picture_of, scale_to_reach
from capriccio.rendering.pictures import save_picture
from capriccio.rendering.projection import (
    LATENTS_FILE,
    RECORD_FILE,
    SHOWN_SIDE,
    folder_names,
    joined_latents,
    question,
)
from capriccio.rendering.tuned_sources import TUNING_FILE
from capriccio.snapshots.tuning import load_tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRequest:
    """What is tuned, and how."""

    folder: Path
    """Folder of the projections."""
    together: bool
    """True = one tuning for all pictures, so that they can be mixed; False = one for each, nearer to each."""
    settings: TuningSettings
    """How."""
    class_index: int | None = None
    """Class of a conditional model."""


@dataclass(frozen=True)
class _Projected:
    """One picture, and the folder its projection lies in."""

    target: Target
    folder: Path
    latents: Latents

    @property
    def image(self) -> Tensor:
        assert self.target.pixels is not None
        return to_images([self.target.pixels])


def save_tunings(
    model: Model,
    targets: Sequence[Target],
    request: TuneRequest,
    distance: PerceptualDistance,
    masks: Tensor | None = None,
    on_step: OnStep | None = None,
) -> list[dict[str, Any]]:
    """Tune for pictures that were projected into ``request.folder``; return their records, with what tuning brought.

    Beside its latents each picture gets ``tuned.png``, and ``side-by-side.png`` shows photograph, projection and tuned
    reconstruction. What an earlier call finished with the same settings is not done again.

    Args:
        model: the network; it stays as it is.
        targets: the pictures, as they were projected.
        request: what and how.
        distance: what is made small, beside pixels.
        masks: [1, 1, H, W], which pixels count in every picture.
        on_step: called after every step.
    """
    names = folder_names(targets, request.folder)
    records = {t.path: {"file": str(t.path), "error": t.problem} for t in targets if t.pixels is None}
    projected = [
        _Projected(t, folder, load_latents(folder / LATENTS_FILE, num_ws=model.num_ws, w_dim=model.w_dim))
        for t in targets
        if t.pixels is not None
        for folder in [request.folder / names[t.path]]
    ]
    groups = [projected] if request.together and projected else [[one] for one in projected]
    for group in groups:
        home = request.folder if request.together else group[0].folder
        identity = _identity(model, request, distance, group, masks)
        if not _finished(home, group, identity):
            _tune(model, group, home, request, distance, masks, identity, on_step)
        for one in group:
            records[one.target.path] = json.loads((one.folder / RECORD_FILE).read_text())
    if request.together and projected:
        _save_together(request.folder, projected)
    ordered = [records[t.path] for t in targets]
    with replacing(request.folder / "projections.json") as file:
        file.write(json.dumps(ordered, indent=1, ensure_ascii=False).encode())
    return ordered


def _tune(
    model: Model,
    group: Sequence[_Projected],
    home: Path,
    request: TuneRequest,
    distance: PerceptualDistance,
    masks: Tensor | None,
    identity: str,
    on_step: OnStep | None,
) -> None:
    tuner = PivotalTuner(
        model,
        torch.cat([one.image for one in group]),
        joined_latents([one.latents for one in group]),
        request.settings,
        distance=distance,
        masks=None if masks is None else masks.expand(len(group), -1, -1, -1),
        c=None if request.class_index is None else model.label(request.class_index),
    )
    for step in tuner.steps():
        if on_step is not None:
            on_step(step)
    tuned = tuner.result()
    path = tuned.tuning.save(home / TUNING_FILE)
    for i, one in enumerate(group):
        _save_one(model, tuned, i, one, path, identity)


def _save_one(model: Model, tuned: Tuned, i: int, one: _Projected, path: Path, identity: str) -> None:
    record = _provenance(tuned.model, (one.target.path.name,))
    before = model.images(one.latents.ws, noise_maps=one.latents.noise or None)
    shown = [picture_of(x) for x in (one.image[0], before[0], tuned.images[i])]
    scale = scale_to_reach(SHOWN_SIDE, model.size)
    save_picture(one.folder / "tuned.png", shown[-1], record)
    save_picture(one.folder / "side-by-side.png", image_grid([enlarge(p, scale) for p in shown], 3), record)
    save_latents(one.folder / LATENTS_FILE, replace(one.latents, provenance=record))
    told = json.loads((one.folder / RECORD_FILE).read_text())
    told["tuning"] = {
        "file": str(path),
        "distance": float(tuned.distances[i]),
        "distance_before": float(tuned.distances_before[i]),
        "rank": tuned.rank,
        "bytes": path.stat().st_size,
        "seconds": tuned.seconds / len(tuned.images),
        "identity": identity,
    }
    # Written last: a record with it means that everything is there.
    with replacing(one.folder / RECORD_FILE) as file:
        file.write(json.dumps(told, indent=1, ensure_ascii=False).encode())


def _save_together(folder: Path, projected: Sequence[_Projected]) -> None:
    """Write the latents of all pictures with the network they share, for the commands that take several."""
    latents = joined_latents([load_latents(one.folder / LATENTS_FILE) for one in projected])
    save_latents(folder / LATENTS_FILE, latents)


def _provenance(tuned: Model, latents: tuple[str, ...]) -> Provenance:
    return Provenance(
        model_hash=tuned.model_hash,
        licence=tuned.licence,
        kind="projection",
        latents=latents,
        tuned_from=tuned.tuned_from,
    )


def _identity(
    model: Model,
    request: TuneRequest,
    distance: PerceptualDistance,
    group: Sequence[_Projected],
    masks: Tensor | None,
) -> str:
    """Return a hash of everything a tuning depends on: network, pictures, mask, class, pivots, distance, settings."""
    settings = json.dumps(asdict(request.settings), sort_keys=True)
    digest = hashlib.blake2b(f"{model.model_hash} {distance.card.weights} {settings}".encode(), digest_size=12)
    for one in group:
        assert one.target.pixels is not None
        digest.update(json.dumps(question(one.target.pixels, masks, request.class_index)).encode())
        for tensor in (one.latents.ws, *one.latents.noise.values()):
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _finished(home: Path, group: Sequence[_Projected], identity: str) -> bool:
    try:
        load_tuning(home / TUNING_FILE)
        records = [json.loads((one.folder / RECORD_FILE).read_text()) for one in group]
        return all(record["tuning"]["identity"] == identity for record in records)
    except (SnapshotError, OSError, ValueError, KeyError, TypeError):
        return False
