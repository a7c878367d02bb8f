"""Verdicts in one call, as ``capriccio.detect`` gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from capriccio.data.cache import cache_folder
from capriccio.detection.calibrate import stored_calibration
from capriccio.detection.detector import Detector, Verdict
from capriccio.errors import UsageError
from capriccio.inversion.targets import find_pictures, open_targets, to_images
from capriccio.loading.model import Model


def detect(
    model: Model,
    pictures: Tensor | Sequence[str | Path],
    *,
    level: float = 0.01,
    batch: int = 16,
    cache_dir: Path | None = None,
) -> list[Verdict]:
    """Tell of each picture whether ``model`` made it.

    Args:
        model: a calibrated model (``capriccio calibrate``).
        pictures: [N, C, H, W] of the model's shape in −1…1, or files and folders.
        level: share of photographs that may be called made.
        batch: pictures at once; no verdict depends on it.
        cache_dir: where calibrations of models lie that carry none; None = $CAPRICCIO_CACHE or the user's.

    Raises: SnapshotError if the model is not calibrated or has no discriminator; UsageError and ShapeError for what
        does not fit. A file that cannot be read gets the verdict "error".
    """
    if batch < 1:
        raise UsageError(f"batch must be at least 1, got {batch}.")
    detector = Detector(model, stored_calibration(model, cache_folder(cache_dir)), level=level)
    if isinstance(pictures, Tensor):
        names = [str(i) for i in range(len(pictures))]
        return judge_in_batches(detector, pictures, names, batch)
    targets = list(open_targets(find_pictures(pictures), model.shape))
    readable = [t for t in targets if t.pixels is not None]
    verdicts: dict[Path, Verdict] = {}
    if readable:
        images = to_images([t.pixels for t in readable if t.pixels is not None])
        found = judge_in_batches(detector, images, [str(t.path) for t in readable], batch)
        verdicts = {t.path: v for t, v in zip(readable, found, strict=True)}
    failed = {
        t.path: Verdict(file=str(t.path), verdict="error", model=model.model_hash, error=t.problem)
        for t in targets
        if t.pixels is None
    }
    return [(verdicts | failed)[t.path] for t in targets]


def judge_in_batches(detector: Detector, images: Tensor, names: Sequence[str], batch: int) -> list[Verdict]:
    """Return the verdicts of pictures [N, C, H, W] in −1…1, so many at once; ``names``: what verdicts call them."""
    verdicts: list[Verdict] = []
    for start in range(0, len(images), batch):
        verdicts += detector.detect(images[start : start + batch], names[start : start + batch])[0]
    return verdicts
