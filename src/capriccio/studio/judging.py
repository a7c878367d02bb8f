"""Detect: an uploaded picture is reconstructed while the client looks on, then judged.

A file is looked at before it is decoded (its length, its header's size and format) and never touches the disk.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from fastapi import APIRouter, File, UploadFile
from torch import Tensor

from capriccio.data.cache import cache_folder
from capriccio.data.pictures import PictureError
from capriccio.detection.calibrate import stored_calibration
from capriccio.detection.detector import BASE_RATES, Detector, detecting_projector
from capriccio.detection.scoring import Calibration
from capriccio.errors import SnapshotError
from capriccio.inversion.problem import Step
from capriccio.inversion.targets import to_images, to_target
from capriccio.provenance import Provenance
from capriccio.rendering.grids import to_picture, to_uint8
from capriccio.rendering.pictures import encode_picture
from capriccio.studio.jobs import Outcome, Tell
from capriccio.studio.problems import Problem, documented
from capriccio.studio.service import Studio, StudioPart
from capriccio.studio.worker import Full

if TYPE_CHECKING:
    from capriccio.loading.model import Model

HISTOGRAM_BINS = 24

SHOW_EVERY = 2
"""A reconstruction is sent after so many steps."""

router = APIRouter(prefix="/api/v1", tags=["detection"])


@router.post("/detections", status_code=202, responses=documented(401, 413, 422, 429, 503))
async def begin_detection(picture: Annotated[UploadFile, File()], studio: StudioPart) -> dict[str, Any]:
    """Ask whether this model made a picture (PNG, JPEG, WebP, AVIF …); the answer names the job that tells it."""
    if studio.model.c_dim:
        raise Problem(422, "Detection needs a model without classes.")
    try:
        pixels, resized = to_target(await picture.read(), studio.model.shape)
    except PictureError as error:
        raise Problem(422, f"The picture {error}.") from error
    target = to_images([pixels])
    try:
        return studio.jobs.begin("detection", lambda tell: _judge(studio, target, resized, tell)).describe()
    except Full as full:
        raise Problem(429, str(full), {"Retry-After": str(full.retry_after)}) from full


class _Progress:
    """What a client sees while its picture is reconstructed."""

    def __init__(self, model: Model, target: Tensor, tell: Tell) -> None:
        self._model, self._target, self._tell = model, target, tell
        self._distances: list[float] = []
        self.pictures: dict[str, str] = {"given": _shown(model, target)}

    def step(self, done: Step) -> None:
        """Tell a step; raises JobCancelled."""
        self._distances.append(float(done.distances[0]))
        if done.step % SHOW_EVERY == 0 or done.step == done.num_steps:
            self.show(done.images)
        self._tell({"done": done.step, "total": done.num_steps, "distances": self._distances, **self.pictures})

    def show(self, images: Tensor) -> None:
        """Put a reconstruction beside the picture, and where they differ."""
        self.pictures["image"] = _shown(self._model, images)
        self.pictures["difference"] = _shown(self._model, (images.cpu() - self._target).abs() * 2 - 1)


def _judge(studio: Studio, target: Tensor, resized: bool, tell: Tell) -> Outcome:
    """Reconstruct, then say what it means; without a calibration only how near it came."""
    model, progress = studio.model, _Progress(studio.model, target, tell)
    try:
        calibration = stored_calibration(model, cache_folder())
    except SnapshotError as error:
        projection = detecting_projector(model).project(target, on_step=progress.step)
        distance = float(projection.distances[0])
        facts: dict[str, Any] = {"verdict": None, "sentence": f"No verdict: {error}", "distance": distance}
    else:
        verdicts, projection = Detector(model, calibration).detect(target, ["picture"], progress.step)
        facts = verdicts[0].to_dict() | {
            "sentence": sentence(verdicts[0].verdict, verdicts[0].p_not_made),
            "base_rates": BASE_RATES,
            "histograms": _histograms(calibration),
        }
    facts |= {"resized": resized, "model": model.model_hash}
    progress.show(projection.images)
    report = json.dumps(facts, indent=1).encode()
    return Outcome(facts | progress.pictures, report, "application/json", "detection.json")


def sentence(verdict: str, p_not_made: float) -> str:
    """Return a verdict in plain words."""
    if verdict == "made":
        return (f"Made by this model. 1 in {max(1, round(1 / p_not_made)):,} real photographs of this kind would be "
                "reconstructed this well.")  # fmt: skip
    return {
        "not-made": "Not made by this model: its own pictures are reconstructed better than this one.",
        "undecided": "Undecided: photographs and pictures of this model are reconstructed about this well.",
        "out-of-domain": "Unlike both: neither this model's pictures nor the photographs it is compared with are "
        "reconstructed like this one, so nothing can be said.",
    }.get(verdict, "No verdict.")


def _histograms(calibration: Calibration) -> dict[str, Any]:
    made, real = calibration.made, calibration.real
    both = np.concatenate([made, real])
    edges = np.linspace(both.min(), both.max(), HISTOGRAM_BINS + 1)
    return {
        "edges": edges.round(4).tolist(),
        "made": np.histogram(made, edges)[0].tolist(),
        "real": np.histogram(real, edges)[0].tolist(),
    }


def _shown(model: Model, images: Tensor) -> str:
    """Return the first image as a PNG file in base 64."""
    picture = to_picture(to_uint8(torch.as_tensor(images).detach().clamp(-1, 1))[0])
    record = Provenance(model_hash=model.model_hash, licence=model.licence, kind="projection")
    return base64.b64encode(encode_picture(picture, "png", record)).decode()
