"""What finds latents of pictures and judges them: one projector and one detector for a model.

They are built when first asked for, beside the worker's thread: for some networks that takes a while, and pictures pass
meanwhile. They are used on the worker's thread alone.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from PIL import Image
from torch import Tensor

from capriccio.background import in_background
from capriccio.data.cache import cache_folder
from capriccio.detection.calibrate import is_calibrated, stored_calibration
from capriccio.detection.detector import Detector, detecting_projector
from capriccio.inversion.problem import Step
from capriccio.inversion.project import Projection, Projector
from capriccio.progress import Progress
from capriccio.provenance import Provenance
from capriccio.rendering.grids import difference_of, picture_of
from capriccio.rendering.pictures import encode_picture
from capriccio.studio.jobs import Tell

if TYPE_CHECKING:
    from capriccio.loading.model import Model

SHOW_EVERY = 2
"""A reconstruction is sent after so many steps."""

MOST = 6
"""Projectors kept; each holds the statistics of W of its class."""

BREATHE_SECONDS = 0.05
"""Time between two breaths while something is built."""

_Built = TypeVar("_Built")

Breathe = Callable[[tuple[int, int]], None]
"""Called again and again during a wait, with (done, total) of what is measured, (0, 0) = nothing; may raise to give
up."""


class Inverters:
    """Projectors and detector of a model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._built: dict[str, _Building[Any]] = {}

    @property
    def calibrated(self) -> bool:
        """Whether verdicts can be given."""
        return is_calibrated(self._model, cache_folder())

    def detector(self, breathe: Breathe) -> Detector:
        """Return the detector. Raises: SnapshotError without a calibration or a discriminator."""
        return self._ready("detector", self._build_detector, breathe)

    def reconstructor(self, breathe: Breathe) -> Projector:
        """Return what reconstructs as the detector does, for a model that cannot judge. Raises: SnapshotError."""
        return self._ready("reconstructor", lambda tell: detecting_projector(self._model, measuring=tell), breathe)

    def projector(self, class_index: int | None, breathe: Breathe) -> Projector:
        """Return a projector, of one class of a conditional model. Raises: SnapshotError without a discriminator."""
        c = None if class_index is None else self._model.label(class_index)
        return self._ready(f"projector {class_index}", lambda tell: Projector(self._model, c=c, progress=tell), breathe)

    def _build_detector(self, measuring: Progress) -> Detector:
        stored = stored_calibration(self._model, cache_folder())
        return Detector(self._model, stored.calibration, encoder=stored.encoder, measuring=measuring)

    def _ready(self, name: str, build: Callable[[Progress], _Built], breathe: Breathe) -> _Built:
        """Return what was built by ``name``; until it is there ``breathe`` is called."""
        if name not in self._built:
            if len(self._built) >= MOST:
                self._built.pop(next(iter(self._built)))
            self._built[name] = _Building(build)
        building: _Building[_Built] = self._built[name]
        while not building.future.done():
            breathe(building.measured)
            time.sleep(BREATHE_SECONDS)
        if building.future.exception() is not None:
            self._built.pop(name, None)  # what lacks now may be there the next time
        return building.future.result()


class _Building(Generic[_Built]):
    """What is built on a thread of its own; a server that leaves does not wait for it."""

    def __init__(self, build: Callable[[Progress], _Built]) -> None:
        self.measured = (0, 0)
        self.future: Future[_Built] = in_background(lambda: build(self._measuring), name="builder")

    def _measuring(self, done: int, total: int) -> None:
        self.measured = done, total


class Watched:
    """A projection of one picture, told step by step with what it looks like."""

    def __init__(self, model: Model, target: Tensor, tell: Tell) -> None:
        self._model, self._target, self._tell = model, target, tell
        self.shown: dict[str, Any] = {"given": _plain(picture_of(target[0]))}
        self._distances: list[float] = []

    def step(self, step: Step) -> None:
        """Tell a step; the last ones may be skipped, when the projection stops early."""
        self._distances.append(round(float(step.distances[0]), 5))
        if step.step % SHOW_EVERY == 1 or step.step == step.num_steps:
            self.show(step.images)
        self._tell({"done": step.step, "total": step.num_steps, "distances": self._distances, **self.shown})

    def wait(self, measured: tuple[int, int] = (0, 0)) -> None:
        """Tell that nothing is to be seen yet, and how much was measured of the network for it, which is done once."""
        self._tell({"done": 0, "total": 1, "measured": list(measured), "distances": [], **self.shown})

    def project(self, projector: Projector) -> Projection:
        """Project to the end."""
        self.wait()
        projection = projector.project(self._target, on_step=self.step)
        self.show(projection.images)
        return projection

    def show(self, images: Tensor) -> None:
        """Put a reconstruction beside the picture, and where they differ."""
        self.shown["image"] = _painted(self._model, picture_of(images[0]))
        self.shown["difference"] = _painted(self._model, difference_of(images[0], self._target[0]))


def _painted(model: Model, picture: Image.Image) -> str:
    """Return a picture that the model painted as a PNG file in base 64."""
    record = Provenance(model_hash=model.model_hash, licence=model.licence, kind="projection")
    return base64.b64encode(encode_picture(picture, "png", record)).decode()


def _plain(picture: Image.Image) -> str:
    """Return a picture as a PNG file in base 64 without a record: no network made it."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
