"""Calibration of the detector: known pictures are projected as they are, after a random edit, and after a reduction.

Reduction is tried on every one: it alone takes away the finest detail, and among random edits too few reduce for its
weight to be told.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from capriccio.data.pictures import Pixels
from capriccio.detection.detector import UNCONDITIONAL_ONLY, calibration_settings, detecting_projector, evidence_of
from capriccio.detection.edits import EDITS, Picture, random_edit
from capriccio.detection.scoring import Calibration, Numbers, calibrate_scores
from capriccio.durable import replacing
from capriccio.errors import SnapshotError, UsageError
from capriccio.inversion.encoder_training import EncoderTraining, train_encoder
from capriccio.inversion.project import Projector
from capriccio.inversion.targets import to_images
from capriccio.inversion.w_statistics import w_statistics
from capriccio.loading.model import Model
from capriccio.networks.encoder import Encoder
from capriccio.ops.quantize import quantize
from capriccio.progress import Progress
from capriccio.snapshots.encoder_file import load_encoder, rounded, save_encoder
from capriccio.snapshots.snapshot import load_snapshot, read_header, save_snapshot

FIRST_SEED = 3_000_000_000
"""Seeds of calibration pictures begin here, far from those people use."""

PSIS = (1.0, 0.7)
"""Truncations of calibration pictures, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRequest:
    """How much work a calibration is."""

    num_made: int = 300
    """Pictures of the network."""
    edits: bool = True
    """Whether every picture is projected again after a random edit, and after a reduction."""
    batch: int = 16
    """Pictures at once; no result depends on it."""
    thorough: bool = False
    """Whether each picture gets several starts: slower, and fewer are left undecided."""
    seed: int = 0
    """Of the edits."""

    def __post_init__(self) -> None:
        if not 20 <= self.num_made <= 100_000 or self.batch < 1:
            raise UsageError(f"--count lies in 20..100000 and --batch above 0, got {self.num_made} and {self.batch}.")


def made_picture(model: Model, index: int) -> Pixels:
    """Return calibration picture ``index`` as it would lie in a file, uint8 [C, H, W], painted with random noise."""
    seed = FIRST_SEED + index
    c = model.label(index % model.c_dim) if model.c_dim else None
    ws = model.ws(seeds=[seed], c=c, truncation_psi=PSIS[index % len(PSIS)])
    random = model.config.use_noise
    images = model.images(ws, noise_mode="random" if random else "none", noise_seeds=[seed] if random else None)
    pixels: Pixels = quantize(images)[0].cpu().numpy()
    return pixels


def calibrate(
    model: Model,
    reals: Sequence[Pixels],
    request: CalibrationRequest | None = None,
    progress: Progress | None = None,
    projector: Projector | None = None,
) -> Calibration:
    """Project known pictures and learn how they score.

    Args:
        model: an unconditional network with its discriminator.
        reals: photographs it never saw, uint8 [C, H, W]; empty = calibrate from made pictures alone.
        request: how many.
        progress: called with (done, total) pictures.
        projector: what projects them; None = :func:`~capriccio.detection.detector.detecting_projector` of ``model``.

    Raises: UsageError if there are too few; SnapshotError if the snapshot has no discriminator.
    """
    request = request or CalibrationRequest()
    projector = projector or detecting_projector(model, thorough=request.thorough)
    with model.generator.in_float32():  # as they are painted for people
        made = [made_picture(model, i) for i in range(request.num_made)]
    rng = np.random.default_rng(request.seed)
    pictures: list[Pixels] = []
    groups: list[int] = []
    kinds: list[int] = []
    for kind, known in ((1, made), (0, list(reals))):
        for number, pixels in enumerate(known):
            versions = [pixels, *_edited(pixels, rng)] if request.edits else [pixels]
            pictures += versions
            groups += [number] * len(versions)
            kinds += [kind] * len(versions)
    numbers = _evidence(projector, pictures, request.batch, progress)
    is_made, group = np.asarray(kinds) == 1, np.asarray(groups, dtype=np.int64)
    settings = calibration_settings(projector)
    if not len(reals):
        return calibrate_scores(numbers, None, group, None, settings)
    return calibrate_scores(numbers[is_made], numbers[~is_made], group[is_made], group[~is_made], settings)


def give_encoder(model: Model, training: EncoderTraining, progress: Progress | None = None) -> None:
    """Train an encoder for a model and let the model have it, as it will be after it was stored.

    Raises: UsageError for a conditional network.
    """
    if model.c_dim:
        raise UsageError("encoders are trained for unconditional networks only.")
    encoder = train_encoder(model.generator, w_statistics(model.generator), training, progress)
    model.encoder = rounded(encoder).requires_grad_(False)


def calibration_half(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part held-out pictures into those for calibration and those for the final table; always the same way."""
    ordered = sorted(names)
    return ordered[::2], ordered[1::2]


def write_calibrated(source: Path, destination: Path, model: Model, calibration: Calibration) -> None:
    """Write a snapshot with its calibration and the model's encoder; its networks, so its model hash, stay the same."""
    snapshot = load_snapshot(source)
    facts = replace(snapshot.facts, calibration=calibration.to_dict())
    save_snapshot(destination, replace(snapshot, facts=facts, encoder=model.encoder), read_header(source)["dtype"])


class StoredCalibration(NamedTuple):
    """A calibration as it is kept, with what belongs to it."""

    calibration: Calibration
    encoder: Encoder | None
    """What made the first guesses, where that is not the model's own encoder."""


def is_calibrated(model: Model, cache: Path) -> bool:
    """Whether there is a calibration of a model, its own or one in the cache."""
    return bool(model.facts.calibration) or cached_calibration(model, cache).is_file()


def stored_calibration(model: Model, cache: Path, *, name: str = "MODEL") -> StoredCalibration:
    """Return the calibration of a model: its own, or that of an earlier ``capriccio calibrate`` in the cache.

    ``name``: the model, as it was asked for.

    Raises: SnapshotError with the command that makes one; UsageError for a conditional model, which none can.
    """
    if model.c_dim:
        raise UsageError(UNCONDITIONAL_ONLY)
    if model.facts.calibration:
        return StoredCalibration(Calibration.from_dict(model.facts.calibration), None)
    path = cached_calibration(model, cache)
    if not path.is_file():
        raise SnapshotError(
            "this model is not calibrated: nobody has measured how well its own pictures and photographs are "
            f"reconstructed. Run 'capriccio calibrate --model {name} --data PHOTOGRAPHS' once."
        )
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise SnapshotError(f"'{path}' is damaged; run 'capriccio calibrate' again.") from error
    calibration = Calibration.from_dict(values)
    if calibration.settings.get("encoder") is None:
        return StoredCalibration(calibration, None)
    return StoredCalibration(calibration, load_encoder(_encoder_beside(path), model.device))


def cached_calibration(model: Model, cache: Path) -> Path:
    """Return where the calibration of a model lies in the cache."""
    return cache / "calibrations" / f"{model.model_hash}.json"


def save_to_cache(model: Model, calibration: Calibration, cache: Path) -> Path:
    """Keep a calibration for a model whose file is left alone."""
    path = cached_calibration(model, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    if model.encoder is not None:
        save_encoder(_encoder_beside(path), model.encoder)
    with replacing(path) as file:
        file.write(json.dumps(calibration.to_dict()).encode())
    return path


def _encoder_beside(path: Path) -> Path:
    return path.with_suffix(".encoder.safetensors")


def _evidence(projector: Projector, pictures: Sequence[Pixels], batch: int, progress: Progress | None) -> Numbers:
    """Return the evidence of all pictures, [N, F].

    On a processor every core has a batch and a copy of the network of its own: that takes less time than all cores on
    one batch after the other.
    """
    threads = torch.get_num_threads()
    cores = threads if projector.model.device.type == "cpu" else 1
    free: SimpleQueue[Projector] = SimpleQueue()
    for own in [projector, *(copy.deepcopy(projector) for _ in range(cores - 1))]:
        free.put(own)

    def of_batch(start: int) -> Numbers:
        own = free.get()
        try:
            images: Tensor = to_images(pictures[start : start + batch])
            return evidence_of(own, images, own.project(images))
        finally:
            free.put(own)

    pool = ThreadPoolExecutor(cores)
    found: list[Numbers] = []
    torch.set_num_threads(1)
    try:
        for numbers in pool.map(of_batch, range(0, len(pictures), batch)):
            found.append(numbers)
            if progress is not None:
                progress(min(len(found) * batch, len(pictures)), len(pictures))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    return np.concatenate(found)


def _edited(pixels: Pixels, rng: np.random.Generator) -> list[Pixels]:
    """Return a picture after a random edit, and reduced; other than grey, RGB and RGBA cannot be edited."""
    if pixels.shape[0] not in (1, 3, 4):
        return []
    image = Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return [_pixels(random_edit(image, rng)[1]), _pixels(EDITS["resize"](image, rng))]


def _pixels(picture: Picture) -> Pixels:
    values = np.asarray(picture)
    return np.ascontiguousarray(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))
