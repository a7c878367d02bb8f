"""``/api/v1/detections``: an uploaded picture is reconstructed while the client looks on, then judged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from capriccio.detection.detect import Judged
from capriccio.detection.detector import BASE_RATES
from capriccio.detection.scoring import Calibration
from capriccio.errors import SnapshotError
from capriccio.rendering.report import render_report
from capriccio.rendering.verdicts import score_shares, verdict_report, verdict_sentence
from capriccio.studio.answers import JobState
from capriccio.studio.jobs import Outcome, Tell
from capriccio.studio.kept import called
from capriccio.studio.problems import Problem, documented
from capriccio.studio.service import Studio, StudioPart
from capriccio.studio.uploads import BINARY_BODY, Target, received_picture
from capriccio.studio.watching import Watched

router = APIRouter(prefix="/api/v1", tags=["detection"])


@router.post("/detections", status_code=202, responses=documented(401, 408, 413, 422, 429, 503),
             openapi_extra=BINARY_BODY)  # fmt: skip
async def begin_detection(
    request: Request, studio: StudioPart,
    name: Annotated[str, Query(max_length=200, description="What the report calls the picture.")] = "picture",
) -> JobState:  # fmt: skip
    """Ask whether this model made a picture (the bytes of a PNG, JPEG, WebP, AVIF …); the answer names the job.

    Its outcome is the verdict with its numbers, its file a report as a page.
    """
    if studio.model.c_dim:
        raise Problem(422, "Detection needs a model without classes.")
    target = await received_picture(request, studio.model.shape, studio.model.model_hash)
    return await studio.begin(request, "detection", lambda tell: _judge(studio, target, called(name), tell))


def _judge(studio: Studio, target: Target, name: str, tell: Tell) -> Outcome:
    """Reconstruct, then say what it means; without a calibration only how near it came."""
    watched = Watched(studio.model, target.images, tell)
    common: dict[str, Any] = {"file": name, "resized": target.resized, "model": studio.model.model_hash}
    try:
        detector = studio.inverters.detector(watched.wait)
    except SnapshotError as error:
        projection = watched.project(studio.inverters.reconstructor(watched.wait))
        distance = float(projection.distances[0])
        facts = common | {"verdict": None, "sentence": f"No verdict: {error}", "distance": distance}
        report = json.dumps(facts, indent=1).encode()
        return Outcome(facts | watched.shown, report, "application/json", "detection.json")
    projection = watched.project(detector.projector)
    verdict = replace(detector.judge(target.images, projection, [name])[0], provenance=target.says)
    facts = (
        verdict.to_dict()
        | common
        | {
            "sentence": verdict_sentence(verdict.verdict, verdict.p_not_made),
            "base_rates": BASE_RATES,
            "histograms": _histograms(detector.calibration),
        }
    )
    judged = Judged(verdict=verdict, picture=target.images[0])
    page = render_report(verdict_report([judged], detector.calibration, f"Did {studio.name} make {name}?"))
    return Outcome(facts | watched.shown, page.encode(), "text/html", "detection.html")


def _histograms(calibration: Calibration) -> dict[str, Any]:
    """Return how the scores of known pictures lie, as shares of each kind."""
    edges, shares = score_shares(calibration)
    return {"edges": edges.round(4).tolist()} | {kind: shares[kind].round(4).tolist() for kind in ("made", "real")}
