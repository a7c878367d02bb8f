"""From evidence to a score, and from a score to error rates that hold.

The score is a regularised logistic regression of made against real over all evidence, so that energy is read in the
light of complexity. Error rates are conformal: a picture's p-value among the made is the share of known made pictures
that score as low. Scores of the known pictures are taken out of fold, by picture (a picture and its edit stay in one
fold), so no picture is judged by a score that was fitted on it.

A score means something among pictures like those it was fitted on. A plain ground or a checkerboard is explained
better than any picture of the network, and is none: what is much farther from the made pictures in its complexity
than any of them counts as made with the smallest probability there is.

Source: Vovk, Gammerman and Shafer 2005 (conformal prediction); Vovk 2015 (cross-conformal predictors);
Mahalanobis 1936 (distance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capriccio.detection.evidence import COMPLEXITY, FEATURES
from capriccio.errors import SnapshotError, UsageError

Numbers = NDArray[np.float64]

NUM_FOLDS = 5
PENALTY = 0.5
"""Of squared coefficients of standardised evidence."""

FEWEST = 20
"""Known pictures of a class, however many versions of each, below which nothing is fitted."""

CALIBRATION_VERSION = 3
MARGIN = 1.5
"""How much farther than any known made picture one may lie and still be like them: edits differ in strength."""

LEAST_SPREAD = 0.1
"""Log units by which evidence counts as spread where it hardly varies: none is far away by a whim of one number."""

RIDGE = 0.01
"""Added to the variances of standardised complexity, whose numbers nearly follow from each other."""

_NEWTON_STEPS = 50
_ENOUGH = 1e-9
_COLUMNS = [FEATURES.index(name) for name in COMPLEXITY]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """Evidence to score: a linear function for each fold, averaged."""

    mean: Numbers
    """Of each number, [F]."""
    spread: Numbers
    """Of each number, [F]."""
    weights: Numbers
    """[folds, F + 1], the last one the constant."""

    def scores(self, evidence: Numbers) -> Numbers:
        """Return the score of each picture, [N]; higher = more likely made by the network."""
        scores: Numbers = self._standardized(evidence) @ self.weights.mean(axis=0)
        return scores

    def fold_scores(self, evidence: Numbers, folds: NDArray[np.int64]) -> Numbers:
        """Return the score of each known picture by the function that was fitted without it, [N]."""
        scores = self._standardized(evidence) @ self.weights.T
        return np.asarray(scores[np.arange(len(scores)), folds])

    def _standardized(self, evidence: Numbers) -> Numbers:
        return np.concatenate([(evidence - self.mean) / self.spread, np.ones((len(evidence), 1))], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """How complex the pictures of the network are: a Mahalanobis distance, and how far it goes."""

    mean: Numbers
    """Of the complexity of made pictures, [C]."""
    whitening: Numbers
    """Complexity less its mean, times this, has unit variance in all directions, [C, C]."""
    reach: float
    """Distance up to which pictures are like them."""

    def distances(self, evidence: Numbers) -> Numbers:
        """Return how far from the middle of the made pictures each lies, [N]."""
        distances: Numbers = np.linalg.norm((evidence[:, _COLUMNS] - self.mean) @ self.whitening, axis=1)
        return distances


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a calibration says about pictures, [N] each."""

    scores: Numbers
    """Higher = more likely made by the network."""
    p_made: Numbers
    """Share of made pictures that score as low, conformal; the smallest there is outside of their domain."""
    p_not_made: Numbers
    """Share of photographs that score as high, conformal; nan where there were no photographs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything a verdict needs to know about one network."""

    scorer: Scorer
    """Evidence to score."""
    domain: Domain
    """What the network's pictures are like."""
    made: Numbers
    """Scores of pictures the network is known to have made, sorted."""
    real: Numbers
    """Scores of photographs it never saw, sorted; empty = calibrated from made pictures alone."""
    settings: dict[str, Any]
    """How pictures were projected: verdicts hold only for the same."""

    @property
    def least_level(self) -> float:
        """Smallest level at which a picture can be called made: there are only so many photographs. inf without any."""
        return 1 / (len(self.real) + 1) if len(self.real) else math.inf

    def read(self, evidence: Numbers) -> Reading:
        """Return scores and p-values of pictures whose evidence is [N, F]."""
        scores = self.scorer.scores(evidence)
        as_low = np.searchsorted(self.made, scores, side="right") + 1.0
        as_low[self.domain.distances(evidence) > self.domain.reach] = 1
        if len(self.real):
            above = len(self.real) - np.searchsorted(self.real, scores, side="left")
            p_not_made = (above + 1) / (len(self.real) + 1)
        else:
            p_not_made = np.full(len(scores), np.nan)
        return Reading(scores=scores, p_made=as_low / (len(self.made) + 1), p_not_made=p_not_made)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, for the header of a snapshot."""
        return {
            "version": CALIBRATION_VERSION,
            "features": list(FEATURES),
            "mean": _rounded(self.scorer.mean),
            "spread": _rounded(self.scorer.spread),
            "weights": [_rounded(w) for w in self.scorer.weights],
            "domain_mean": _rounded(self.domain.mean),
            "domain_whitening": [_rounded(w) for w in self.domain.whitening],
            "domain_reach": _rounded(np.array([self.domain.reach]))[0],
            "made": _rounded(self.made),
            "real": _rounded(self.real),
            "settings": self.settings,
        }

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Calibration:
        """Read what :meth:`to_dict` wrote. Raises: SnapshotError if it is damaged or by another version."""
        try:
            if values["version"] != CALIBRATION_VERSION or tuple(values["features"]) != FEATURES:
                raise SnapshotError("the calibration is of another version; run 'capriccio calibrate' again.")
            arrays = {
                name: np.asarray(values[name], dtype=np.float64)
                for name in ("mean", "spread", "weights", "domain_mean", "domain_whitening", "made", "real")
            }
            reach = float(values["domain_reach"])
            width, complexity = len(FEATURES), len(COMPLEXITY)
            sound = (
                arrays["mean"].shape == arrays["spread"].shape == (width,)
                and arrays["weights"].ndim == 2
                and arrays["weights"].shape[1] == width + 1
                and arrays["domain_mean"].shape == (complexity,)
                and arrays["domain_whitening"].shape == (complexity, complexity)
                and np.isfinite(reach)
                and arrays["made"].ndim == 1
                and len(arrays["made"]) > 0
                and all(np.isfinite(a).all() for a in arrays.values())
            )
            if not sound:
                raise SnapshotError("the calibration is damaged; run 'capriccio calibrate' again.")
            scorer = Scorer(mean=arrays.pop("mean"), spread=arrays.pop("spread"), weights=arrays.pop("weights"))
            domain = Domain(mean=arrays.pop("domain_mean"), whitening=arrays.pop("domain_whitening"), reach=reach)
            return Calibration(scorer=scorer, domain=domain, settings=dict(values["settings"]), **arrays)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, SnapshotError):
                raise
            raise SnapshotError("the calibration is damaged; run 'capriccio calibrate' again.") from error


def calibrate_scores(
    made: Numbers,
    real: Numbers | None,
    made_groups: NDArray[np.int64],
    real_groups: NDArray[np.int64] | None,
    settings: dict[str, Any],
) -> Calibration:
    """Fit the score on known pictures and keep how they score.

    Args:
        made: evidence of pictures made by the network, [N, F].
        real: evidence of photographs it never saw, [M, F]; None = there are none.
        made_groups: which picture each comes from, [N]: an edit is of the group of its original.
        real_groups: the same, [M].
        settings: how they were projected.

    Raises: UsageError if there are too few.
    """  # fmt: skip
    known = [len(np.unique(groups)) for groups in (made_groups, real_groups) if groups is not None]
    if min(known) < FEWEST:
        got = " made and ".join(map(str, known)) + (" made." if len(known) == 1 else " real ones.")
        raise UsageError(f"a calibration needs at least {FEWEST} pictures of each kind, got {got}")
    if real is None or real_groups is None:
        return _one_sided(made, made_groups, settings)
    evidence = np.concatenate([made, real])
    is_made = np.concatenate([np.ones(len(made)), np.zeros(len(real))])
    folds = np.concatenate([made_groups, real_groups]) % NUM_FOLDS
    mean, spread = evidence.mean(axis=0), np.maximum(evidence.std(axis=0), LEAST_SPREAD)
    standard = np.concatenate([(evidence - mean) / spread, np.ones((len(evidence), 1))], axis=1)
    weights = np.stack([_logistic(standard[folds != k], is_made[folds != k]) for k in range(NUM_FOLDS)])
    scorer = Scorer(mean=mean, spread=spread, weights=weights)
    scores = scorer.fold_scores(evidence, folds.astype(np.int64))
    return Calibration(
        scorer=scorer,
        domain=_domain(made, made_groups % NUM_FOLDS),
        made=np.sort(scores[: len(made)]),
        real=np.sort(scores[len(made) :]),
        settings=settings,
    )


def _one_sided(made: Numbers, groups: NDArray[np.int64], settings: dict[str, Any]) -> Calibration:
    """Score by how much nearer than expected a picture of such complexity is: a regression among the made alone."""
    mean, spread = made.mean(axis=0), np.maximum(made.std(axis=0), LEAST_SPREAD)
    standard = np.concatenate([(made - mean) / spread, np.ones((len(made), 1))], axis=1)
    columns = [*_COLUMNS, len(FEATURES)]
    folds = groups % NUM_FOLDS
    rows = []
    for k in range(NUM_FOLDS):
        chosen = standard[folds != k]
        part = chosen[:, columns]
        found = np.linalg.solve(part.T @ part + PENALTY * np.eye(len(columns)), part.T @ chosen[:, 0])
        row = np.zeros(len(FEATURES) + 1)
        row[columns] = found
        row[0] -= 1
        rows.append(row)
    scorer = Scorer(mean=mean, spread=spread, weights=np.stack(rows))
    scores = scorer.fold_scores(made, folds.astype(np.int64))
    return Calibration(
        scorer=scorer,
        domain=_domain(made, folds),
        made=np.sort(scores),
        real=np.zeros(0),
        settings=settings,
    )


def _domain(made: Numbers, folds: NDArray[np.int64]) -> Domain:
    """Return the domain of made pictures; how far each lies is measured without its own fold."""
    distances = np.zeros(len(made))
    for k in range(NUM_FOLDS):
        if (folds == k).any():
            distances[folds == k] = _gaussian(made[folds != k]).distances(made[folds == k])
    return replace(_gaussian(made), reach=MARGIN * float(distances.max()))


def _gaussian(made: Numbers) -> Domain:
    complexity = made[:, _COLUMNS]
    mean, spread = complexity.mean(axis=0), np.maximum(complexity.std(axis=0), LEAST_SPREAD)
    standard = (complexity - mean) / spread
    covariance = standard.T @ standard / len(standard)
    np.fill_diagonal(covariance, np.maximum(np.diag(covariance), 1) + RIDGE)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T / spread[:, None]
    return Domain(mean=mean, whitening=whitening, reach=0.0)


def _logistic(standard: Numbers, is_made: Numbers) -> Numbers:
    """Return coefficients of a logistic regression with squared penalty, by Newton steps; classes weigh the same."""
    made_share = is_made.mean()
    importance = np.where(is_made > 0, 0.5 / made_share, 0.5 / (1 - made_share))
    weights = np.zeros(standard.shape[1])
    penalty = np.full(len(weights), PENALTY)
    penalty[-1] = _ENOUGH
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(standard @ weights, -50, 50)))
        gradient = standard.T @ (importance * (p - is_made)) + penalty * weights
        curvature = (standard * (importance * p * (1 - p))[:, None]).T @ standard + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < _ENOUGH:
            break
    return weights


def _rounded(values: Numbers) -> list[float]:
    return [float(f"{v:.6g}") for v in values]


def auc(made: Numbers, real: Numbers) -> float:
    """Return how often a made picture scores above a real one, ties counting half."""
    ordered = np.sort(real)
    below = np.searchsorted(ordered, made, side="left")
    up_to = np.searchsorted(ordered, made, side="right")
    return float((below + up_to).mean() / 2 / len(real))
