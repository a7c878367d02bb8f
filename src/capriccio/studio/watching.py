"""A projection that a client looks at while it is made: what it looks like after every few steps."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from capriccio.inversion.problem import Step
from capriccio.inversion.project import Projector
from capriccio.inversion.projection import Projection
from capriccio.provenance import Provenance
from capriccio.rendering.grids import difference_of, picture_of
from capriccio.rendering.pictures import encode_picture
from capriccio.studio.jobs import Tell

if TYPE_CHECKING:
    from capriccio.loading.model import Model

SHOW_EVERY = 2
"""A reconstruction is sent after so many steps."""


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
