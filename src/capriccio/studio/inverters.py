"""What finds latents of pictures and judges them: one projector and one detector for a model.

Built when first asked for, used on the worker's thread alone.
"""

from __future__ import annotations

import base64
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from capriccio.data.cache import cache_folder
from capriccio.detection.calibrate import stored_calibration
from capriccio.detection.detector import Detector, detector_settings
from capriccio.errors import SnapshotError
from capriccio.inversion.problem import Step
from capriccio.inversion.project import Projection, ProjectionSettings, Projector
from capriccio.provenance import Provenance
from capriccio.rendering.grids import to_picture, to_uint8
from capriccio.rendering.pictures import encode_picture
from capriccio.studio.jobs import Tell

if TYPE_CHECKING:
    from capriccio.loading.model import Model

SHOW_EVERY = 2
"""A reconstruction is sent after so many steps."""


class Inverters:
    """Projectors and detector of a model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._projectors: dict[tuple[ProjectionSettings, int | None], Projector] = {}

    @cached_property
    def detector(self) -> Detector:
        """The detector. Raises: SnapshotError without a calibration or a discriminator."""
        return Detector(self._model, stored_calibration(self._model, cache_folder()))

    @cached_property
    def calibrated(self) -> bool:
        """Whether verdicts can be given."""
        try:
            stored_calibration(self._model, cache_folder())
        except SnapshotError:
            return False
        return True

    def projector(self, settings: ProjectionSettings | None = None, class_index: int | None = None) -> Projector:
        """Return a projector of these settings. Raises: SnapshotError for a model without a discriminator."""
        key = settings or ProjectionSettings(), class_index
        if key not in self._projectors:
            c = None if class_index is None else self._model.label(class_index)
            if len(self._projectors) >= 4:  # each holds the statistics of W of its class
                self._projectors.pop(next(iter(self._projectors)))
            self._projectors[key] = Projector(self._model, key[0], c=c)
        return self._projectors[key]

    def plain_detection(self) -> Projector:
        """Return what reconstructs as the detector does, for a model that cannot judge."""
        return self.projector(detector_settings())


class Watched:
    """A projection of one picture, told step by step with what it looks like."""

    def __init__(self, model: Model, target: Tensor, tell: Tell) -> None:
        self._model, self._target, self._tell = model, target, tell
        self.shown: dict[str, Any] = {"given": png(model, target)}
        self._distances: list[float] = []

    def step(self, step: Step) -> None:
        """Tell a step; the last ones may be skipped, when the projection stops early."""
        self._distances.append(round(float(step.distances[0]), 5))
        if step.step % SHOW_EVERY == 1 or step.step == step.num_steps:
            self.show(step.images)
        self._tell({"done": step.step, "total": step.num_steps, "distances": self._distances, **self.shown})

    def project(self, projector: Projector) -> Projection:
        """Project to the end."""
        self._tell({"done": 0, "total": 1, "distances": [], **self.shown})
        projection = projector.project(self._target, on_step=self.step)
        self.show(projection.images)
        return projection

    def show(self, images: Tensor) -> None:
        """Put a reconstruction beside the picture, and where they differ."""
        self.shown["image"] = png(self._model, images)
        self.shown["difference"] = png(self._model, (images.cpu() - self._target).abs() * 2 - 1)


def png(model: Model, images: Tensor) -> str:
    """Return the first image as a PNG file in base 64."""
    picture = to_picture(to_uint8(torch.as_tensor(images).detach().clamp(-1, 1))[0])
    record = Provenance(model_hash=model.model_hash, licence=model.licence, kind="projection")
    return base64.b64encode(encode_picture(picture, "png", record)).decode()
