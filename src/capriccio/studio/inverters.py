"""What finds latents of pictures and judges them: one projector and one detector for a model.

They are built when first asked for, beside the worker's thread: for some networks that takes a while, and pictures pass
meanwhile. They are used on the worker's thread alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from capriccio.background import in_background
from capriccio.data.cache import cache_folder
from capriccio.detection.calibrate import is_calibrated, stored_calibration
from capriccio.detection.detector import Detector, detecting_projector
from capriccio.inversion.project import Projector
from capriccio.progress import Progress

if TYPE_CHECKING:
    from capriccio.loading.model import Model

MAX_PROJECTORS = 6
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
            if len(self._built) >= MAX_PROJECTORS:
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
