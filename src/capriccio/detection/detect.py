"""Verdicts in one call, as ``capriccio.detect`` gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from capriccio.data.cache import cache_folder
from capriccio.detection.calibrate import stored_calibration
from capriccio.detection.detector import LEVEL, Detector, Verdict
from capriccio.errors import UsageError
from capriccio.inversion.targets import Target, find_pictures, open_targets, to_images
from capriccio.loading.model import Model
from capriccio.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict with what can be shown of it."""

    verdict: Verdict
    """The verdict."""
    picture: Tensor | None = None
    """The picture, −1…1, [C, H, W]; None = it could not be read, or is not to be shown."""

    @property
    def reconstruction(self) -> Tensor | None:
        """What the network can paint of it, [C, H, W]."""
        return None if self.verdict.projection is None else self.verdict.projection.images[0]


def detect(
    model: Model,
    pictures: Tensor | str | Path | Sequence[str | Path],
    *,
    level: float = LEVEL,
    batch: int = 16,
    cache_dir: Path | None = None,
) -> list[Verdict]:
    """Tell of each picture whether ``model`` made it.

    Args:
        model: a calibrated model (``capriccio calibrate``).
        pictures: [N, C, H, W] of the model's shape in −1…1, or files and folders.
        level: share of photographs that may be called made.
        batch: pictures at once; no verdict depends on it.
        cache_dir: where calibrations, and the curvature, of models lie that carry none; None = $CAPRICCIO_CACHE or the
            user's.

    Raises: SnapshotError if the model is not calibrated or has no discriminator; UsageError and ShapeError for what
        does not fit. A file that cannot be read gets the verdict "error".
    """
    if batch < 1:
        raise UsageError(f"batch must be at least 1, got {batch}.")
    stored = stored_calibration(model, cache_folder(cache_dir))
    detector = Detector(model, stored.calibration, encoder=stored.encoder, level=level, cache_dir=cache_dir)
    if isinstance(pictures, Tensor):
        names = [str(i) for i in range(len(pictures))]
        return judge_in_batches(detector, pictures, names, batch)
    judged = judge_targets(detector, list(open_targets(find_pictures(pictures), model.shape)), batch)
    return [j.verdict for j in judged]


def judge_targets(
    detector: Detector,
    targets: Sequence[Target],
    batch: int,
    progress: Progress | None = None,
    *,
    shown: bool = True,
) -> list[Judged]:
    """Judge picture files in their order; one that could not be read gets the verdict "error".

    Args:
        detector: whom to ask.
        targets: the files as they were opened.
        batch: pictures at once.
        progress: called with (done, total) readable pictures.
        shown: whether pictures and projections are kept; verdicts alone take little memory, however many there are.
    """
    model_hash = detector.model.model_hash
    judged = {
        t.path: Judged(verdict=Verdict(file=str(t.path), verdict="error", model=model_hash, error=t.problem))
        for t in targets
        if t.pixels is None
    }
    readable = [t for t in targets if t.pixels is not None]
    for start in range(0, len(readable), batch):
        part = readable[start : start + batch]
        images = to_images([t.pixels for t in part if t.pixels is not None])
        verdicts = detector.detect(images, [str(t.path) for t in part])
        for target, verdict, image in zip(part, verdicts, images, strict=True):
            judged[target.path] = (
                Judged(verdict=verdict, picture=image) if shown else Judged(verdict=replace(verdict, projection=None))
            )
        if progress is not None:
            progress(start + len(part), len(readable))
    return [judged[t.path] for t in targets]


def judge_in_batches(detector: Detector, images: Tensor, names: Sequence[str], batch: int) -> list[Verdict]:
    """Return the verdicts of pictures [N, C, H, W] in −1…1, so many at once; ``names``: what verdicts call them."""
    verdicts: list[Verdict] = []
    for start in range(0, len(images), batch):
        verdicts += detector.detect(images[start : start + batch], names[start : start + batch])
    return verdicts
