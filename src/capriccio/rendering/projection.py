"""What a projection leaves on the disk: latents, reconstructions, side-by-sides, a film, and a record of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from capriccio.durable import replacing
from capriccio.errors import UsageError
from capriccio.inversion.project import OnStep, Projector
from capriccio.inversion.projection import Projection
from capriccio.inversion.targets import Target, to_images
from capriccio.latent.files import Latents, load_latents, save_latents
from capriccio.loading.model import Model
from capriccio.provenance import Provenance
from capriccio.rendering.grids import Pixels, enlarge, image_grid, picture_of, scale_to_reach
from capriccio.rendering.pictures import save_picture
from capriccio.rendering.tuned_sources import TUNING_FILE

SHOWN_SIDE = 256
"""Side-by-sides are enlarged by a whole factor until their shorter side reaches it."""

LATENTS_FILE = "latents.safetensors"
RECORD_FILE = "projection.json"
RECORDS_FILE = "projections.json"
FILM_FILE = "film.webp"
_FRAMES = 60
_FRAME_MILLISECONDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRequest:
    """Where to leave what comes out of a projection, and how many pictures are projected at once."""

    folder: Path
    """Everything is written here."""
    batch: int = 16
    """Pictures at once; no result depends on it."""
    film: bool = False
    """Whether the way from the start to the end is kept as an animation for each picture."""
    class_index: int | None = None
    """Class of a conditional model."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UsageError(f"--batch must be at least 1, got {self.batch}.")


def save_projections(
    projector: Projector,
    targets: Sequence[Target],
    request: ProjectRequest,
    masks: Tensor | None = None,
    on_step: OnStep | None = None,
) -> list[dict[str, Any]]:
    """Project pictures batch by batch and write what comes out; return one record for each picture.

    A picture that an earlier call with the same model, settings, mask and class finished is not done again, so an
    interrupted folder goes on where it was. Another picture of the same name gets a folder of its own. ``masks``:
    [1, 1, H, W], which pixels count in every picture.
    """
    request.folder.mkdir(parents=True, exist_ok=True)
    model = projector.model
    names = folder_names(targets, request.folder)
    records: dict[Path, dict[str, Any]] = {
        t.path: {"file": str(t.path), "error": t.problem} for t in targets if t.pixels is None
    }
    waiting = []
    identities = {
        t.path: _identity(model, projector) | question(t.pixels, masks, request.class_index)
        for t in targets
        if t.pixels is not None
    }
    for target in targets:
        if target.pixels is None:
            continue
        record = _finished(request.folder / names[target.path], target, identities[target.path], film=request.film)
        if record is None:
            waiting.append(target)
        else:
            records[target.path] = record
    for start in range(0, len(waiting), request.batch):
        part = waiting[start : start + request.batch]
        images = to_images([t.pixels for t in part if t.pixels is not None])
        running = projector.start(images, None if masks is None else masks.expand(len(part), -1, -1, -1))
        frames: list[Tensor] = []
        for step in running:
            if request.film and step.step % max(1, step.num_steps // _FRAMES) == 0:
                frames.append(step.images.clone())
            if on_step is not None:
                on_step(step)
        result = running.result()
        for i, target in enumerate(part):
            folder = request.folder / names[target.path]
            records[target.path] = _save_one(
                model, identities[target.path], result.one(i), images[i], target, folder, [f[i] for f in frames]
            )
    done = [t for t in targets if t.pixels is not None]
    _save_all(model, request.folder, [request.folder / names[t.path] for t in done], [names[t.path] for t in done])
    ordered = [records[t.path] for t in targets]
    with replacing(request.folder / RECORDS_FILE) as file:
        file.write(json.dumps(ordered, indent=1, ensure_ascii=False).encode())
    return ordered


def folder_names(targets: Sequence[Target], folder: Path) -> dict[Path, str]:
    """Return for each target the name of its place in ``folder``: its file's name, numbered where that is taken.

    It is taken by another target, or by what an earlier call found for another picture.
    """
    names: dict[Path, str] = {}
    taken = {LATENTS_FILE, RECORDS_FILE, TUNING_FILE}
    for target in targets:
        name, number = target.name, 2
        while name in taken or _is_of_another(folder / name, target):
            name, number = f"{target.name}-{number}", number + 1
        taken.add(name)
        names[target.path] = name
    return names


def _is_of_another(folder: Path, target: Target) -> bool:
    try:
        before = json.loads((folder / RECORD_FILE).read_text())["picture"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return target.pixels is not None and bool(before != _hash(target.pixels))


def _save_one(
    model: Model,
    identity: dict[str, Any],
    result: Projection,
    image: Tensor,
    target: Target,
    folder: Path,
    frames: Sequence[Tensor],
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    provenance = Provenance(
        model_hash=model.model_hash, licence=model.licence, kind="projection", latents=(target.path.name,)
    )
    original, found = (picture_of(x) for x in (image, result.images[0]))
    # Without a record: it is the caller's picture, cut and resized, and no network made it.
    with replacing(folder / "target.png") as file:
        original.save(file, "PNG")
    save_picture(folder / "reconstruction.png", found, provenance)
    scale = scale_to_reach(SHOWN_SIDE, model.size)
    pair = image_grid([enlarge(original, scale), enlarge(found, scale)], 2)
    save_picture(folder / "side-by-side.png", pair, provenance)
    (folder / FILM_FILE).unlink(missing_ok=True)  # of another projection
    if frames:
        _save_film(folder / FILM_FILE, original, frames, scale)
    latents = Latents(
        ws=result.ws,
        noise=result.noise,
        names=(target.name,),
        provenance=provenance,
    )
    save_latents(folder / LATENTS_FILE, latents)
    record = {
        "file": str(target.path),
        "folder": str(folder),
        "distance": float(result.distances[0]),
        "distance_name": result.distance.name,
        "resized": target.resized,
        "steps": len(result.history),
        "history": [round(float(step[0]), 6) for step in result.history],
        "seconds": result.seconds,
    }
    # Written last: a folder with it is complete.
    with replacing(folder / RECORD_FILE) as file:
        file.write(json.dumps(identity | record, indent=1, ensure_ascii=False).encode())
    return record


def _save_film(path: Path, original: Image.Image, frames: Sequence[Tensor], scale: int) -> None:
    pictures = [image_grid([enlarge(original, scale), enlarge(picture_of(f), scale)], 2) for f in frames]
    with replacing(path) as file:
        pictures[0].save(
            file, "WEBP", save_all=True, append_images=pictures[1:], duration=_FRAME_MILLISECONDS, loop=0, quality=85
        )


def _identity(model: Model, projector: Projector) -> dict[str, Any]:
    s = projector.settings
    return {
        "model": model.model_hash,
        "network": projector.distance.card.weights,
        **({} if model.precision == "fp32" else {"precision": model.precision}),
        "settings": {
            "method": s.method, "space": s.space, "num_steps": s.num_steps, "num_restarts": s.num_restarts,
            "num_descent_steps": s.num_descent_steps, "optimize_noise": s.optimize_noise, "seed": s.seed,
        },
    }  # fmt: skip


def question(pixels: Pixels, masks: Tensor | None, class_index: int | None) -> dict[str, Any]:
    """Return what a result depends on beside network and settings: hashes of picture and mask, and the class."""
    mask = None if masks is None else _hash(masks.float().numpy())
    return {"picture": _hash(pixels), "mask": mask, "class": class_index}


def _hash(values: NDArray[Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=12).hexdigest()


def _finished(folder: Path, target: Target, identity: dict[str, Any], *, film: bool) -> dict[str, Any] | None:
    """Return the record of a picture that was finished in the same way, or None."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD_FILE).read_text())
        same = all(record.pop(key) == value for key, value in identity.items())
        if not same or not all((folder / name).is_file() for name in (LATENTS_FILE, *([FILM_FILE] if film else []))):
            return None
        return record | {"file": str(target.path), "folder": str(folder)}  # either may have been moved
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _save_all(model: Model, folder: Path, folders: Sequence[Path], names: Sequence[str]) -> None:
    """Write the latents of all pictures as one file, for the commands that take several."""
    if not folders:
        return
    together = joined_latents([load_latents(f / LATENTS_FILE, num_ws=model.num_ws, w_dim=model.w_dim) for f in folders])
    provenance = Provenance(model_hash=model.model_hash, licence=model.licence, kind="projection", latents=tuple(names))
    save_latents(folder / LATENTS_FILE, replace(together, names=tuple(names), provenance=provenance))


def joined_latents(parts: Sequence[Latents]) -> Latents:
    """Return latents of one network as one; the provenance is that of the first, with the names of all."""
    names = tuple(name for part in parts for name in part.names)
    record = parts[0].provenance
    return Latents(
        ws=torch.cat([p.ws for p in parts]),
        noise={name: torch.cat([p.noise[name] for p in parts]) for name in parts[0].noise},
        names=names,
        provenance=None if record is None else replace(record, latents=names),
    )


def readable(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each picture."""
    for record in records:
        if "error" in record:
            yield f"{record['file']}: not projected: {record['error']}"
            continue
        tuned = record.get("tuning")
        after = f", tuned {tuned['distance']:.4f} ({tuned['bytes'] / 2**20:.2f} MiB)" if tuned else ""
        yield f"{record['file']}: distance {record['distance']:.4f}{after} ({record['distance_name']})"
