"""Verdicts: made by this network, not made by it, undecided, or like nothing it was calibrated with.

"Not made" is about this network alone: the picture may come from another one. A verdict is a statement about error
rates, not a proof; :data:`BASE_RATES` goes with every report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from capriccio.detection.evidence import evidence
from capriccio.detection.scoring import Calibration, Numbers
from capriccio.errors import SnapshotError, UsageError
from capriccio.inversion.problem import Step
from capriccio.inversion.project import Projector, default_distance
from capriccio.inversion.projection import Projection, ProjectionSettings
from capriccio.loading.model import Model
from capriccio.networks.encoder import Encoder
from capriccio.progress import Progress
from capriccio.snapshots.encoder_file import encoder_hash

VerdictName = Literal["made", "not-made", "undecided", "out-of-domain", "error"]

THOROUGH_RESTARTS = 3
"""Starts of a thorough detector."""

STEPS_FROM_GUESS = 6
"""Steps of the usual detector from an encoder's guess: twelve take twice the time and part the classes no better."""


def detector_settings(*, guessed: bool, thorough: bool = False) -> ProjectionSettings:
    """Return how the detector projects: noise maps are looked for too, since pictures may be painted with any.

    Args:
        guessed: whether an encoder says where to begin; without one all steps of the method are needed.
        thorough: take all steps, from several starts.
    """
    if thorough:
        return ProjectionSettings(optimize_noise=True, num_restarts=THOROUGH_RESTARTS)
    return ProjectionSettings(optimize_noise=True, num_steps=STEPS_FROM_GUESS if guessed else None)


LEVEL = 0.01
"""Share of photographs that may be called made, unless another is asked for."""

BASE_RATES = (
    "At a level of 1 %, one in a hundred photographs is called made. Among pictures of which few were made by the "
    'network, most that are accused are therefore innocent; "not made" says only that this network did not make it.'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is said about one picture."""

    file: str
    """Its file, or whatever the caller calls it."""
    verdict: VerdictName
    """made, not-made, undecided, out-of-domain or error."""
    distance: float = math.nan
    """Distance of the reconstruction."""
    score: float = math.nan
    """Distance read in the light of complexity; higher = more likely made."""
    p_made: float = math.nan
    """Share of pictures of this network that score as low."""
    p_not_made: float = math.nan
    """Share of photographs that score as high; nan after a calibration without photographs."""
    model: str = ""
    """Hash of the network asked about."""
    seconds: float = 0.0
    """Time for it, its share of the batch."""
    error: str = ""
    """Why there is no verdict."""
    provenance: str = ""
    """What the file says about itself; it can be forged and is never trusted alone."""
    projection: Projection | None = field(default=None, repr=False, compare=False)
    """What the network can paint that is nearest to the picture, and its latents; None = there is no verdict."""

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON values, without the projection; numbers that are not known are null."""
        values: dict[str, object] = {"file": self.file, "verdict": self.verdict}
        for name in ("distance", "score", "p_made", "p_not_made"):
            value = getattr(self, name)
            values[name] = None if math.isnan(value) else value
        values |= {"model": self.model, "seconds": round(self.seconds, 3)}
        return values | {name: getattr(self, name) for name in ("error", "provenance") if getattr(self, name)}


def decide(p_made: float, p_not_made: float, level: float) -> VerdictName:
    """Return the verdict of two p-values at a level.

    Without photographs to compare with (p_not_made is nan) only "not made" and "undecided" can be said.
    """
    if math.isnan(p_not_made):
        return "not-made" if p_made <= level else "undecided"
    like_made, like_real = p_made > level, p_not_made > level
    if like_made:
        return "undecided" if like_real else "made"
    return "not-made" if like_real else "out-of-domain"


def accused_at_fdr(p_not_made: Sequence[float], rate: float) -> list[bool]:
    """Return which pictures may be accused so that at most ``rate`` of the accused are expected to be innocent.

    Source: Benjamini and Hochberg 1995.
    """
    p = np.asarray(p_not_made, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p))
    ordered = known[np.argsort(p[known], kind="stable")]
    fitting = np.flatnonzero(p[ordered] <= rate * np.arange(1, len(ordered) + 1) / max(len(p), 1))
    accused = np.zeros(len(p), dtype=bool)
    if len(fitting):
        accused[ordered[: fitting[-1] + 1]] = True
    return [bool(a) for a in accused]


UNCONDITIONAL_ONLY = "the detector knows unconditional networks only: a picture does not say its class."


class Detector:
    """Judges pictures for one calibrated model."""

    def __init__(
        self,
        model: Model,
        calibration: Calibration,
        *,
        encoder: Encoder | None = None,
        level: float = LEVEL,
        cache_dir: Path | None = None,
        measuring: Progress | None = None,
    ) -> None:
        """Prepare it.

        Args:
            model: the network that is asked.
            calibration: how its pictures and photographs score.
            encoder: the one it was calibrated with; None = the model's own, if it has one.
            level: share of photographs that may be called made.
            cache_dir: where the curvature of models lies that carry no encoder; None = $CAPRICCIO_CACHE or the user's.
            measuring: called with (done, total) while that is measured, once for a network.

        Raises: UsageError if the level is no share; SnapshotError if the calibration was made otherwise.
        """
        if not 0 < level < 0.5:
            raise UsageError(f"the level lies above 0 and below 0.5, got {level}.")
        thorough = calibration.settings.get("num_restarts") != 1
        self.projector = detecting_projector(
            model, encoder=encoder, thorough=thorough, cache_dir=cache_dir, measuring=measuring
        )
        if calibration.settings != calibration_settings(self.projector):
            raise SnapshotError("the calibration was made with another encoder, precision or other settings; "
                                "run 'capriccio calibrate' again.")  # fmt: skip
        self.model, self.calibration, self.level = model, calibration, level

    def detect(
        self, pictures: Tensor, files: Sequence[str], on_step: Callable[[Step], None] | None = None
    ) -> list[Verdict]:
        """Judge a batch of pictures [N, C, H, W] in −1…1; ``on_step`` may raise to cancel."""
        projection = self.projector.project(pictures, on_step=on_step)
        return self.judge(pictures, projection, files)

    def judge(self, pictures: Tensor, projection: Projection, files: Sequence[str]) -> list[Verdict]:
        """Return the verdicts of pictures that are projected already."""
        numbers = evidence_of(self.projector, pictures, projection)
        read = self.calibration.read(numbers)
        return [
            Verdict(
                file=files[i],
                verdict=decide(float(read.p_made[i]), float(read.p_not_made[i]), self.level),
                distance=float(projection.distances[i]),
                score=float(read.scores[i]),
                p_made=float(read.p_made[i]),
                p_not_made=float(read.p_not_made[i]),
                model=self.model.model_hash,
                seconds=projection.seconds / len(files),
                projection=projection.one(i),
            )
            for i in range(len(files))
        ]


def evidence_of(projector: Projector, pictures: Tensor, projection: Projection) -> Numbers:
    """Return the evidence of projected pictures, [N, F]."""
    numbers: Numbers = evidence(pictures, projection, projector.statistics).numpy()
    return numbers


def detecting_projector(
    model: Model,
    *,
    encoder: Encoder | None = None,
    thorough: bool = False,
    cache_dir: Path | None = None,
    measuring: Progress | None = None,
) -> Projector:
    """Return what detection projects with; ``encoder``, ``cache_dir`` and ``measuring`` as :class:`Detector`.

    Raises: UsageError for a conditional network; SnapshotError for one without discriminator.
    """
    if model.c_dim:
        raise UsageError(UNCONDITIONAL_ONLY)
    encoder = encoder or model.encoder
    settings = detector_settings(guessed=encoder is not None, thorough=thorough)
    return Projector(
        model, settings, distance=default_distance(model), encoder=encoder, cache_dir=cache_dir, progress=measuring
    )


def calibration_settings(projector: Projector) -> dict[str, object]:
    """Return what has to be the same between calibration and verdict."""
    s, encoder, precision = projector.settings, projector.encoder, projector.model.precision
    return ({} if precision == "fp32" else {"precision": precision}) | {
        "method": s.method,
        "space": s.space,
        "optimize_noise": s.optimize_noise,
        "num_restarts": s.num_restarts,
        "num_steps": s.num_steps,
        "distance": projector.distance.card.weights,
        "encoder": None if encoder is None else encoder_hash(encoder),
    }
