"""Training runs under a folder: followed through their files, never through the training itself.

A name in an address is looked for among the names that are there; it never becomes part of a path.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from capriccio.doctor.examination import examine
from capriccio.doctor.record import RunRecord, Tick, read_run
from capriccio.errors import CapriccioError
from capriccio.studio.problems import Problem, documented
from capriccio.studio.service import Studio, StudioPart

MAX_POINTS = 400
"""Points of a curve that are sent; screens have few more."""

MAX_RUNS = 200

GOING_SECONDS = 900.0
"""A run that wrote within this time is taken to go on."""

CURVES = {
    "Losses": ("Loss/G/loss", "Loss/D/loss"),
    "Regularisers": ("Loss/r1_penalty", "Loss/pl_penalty"),
    "Overfitting": ("Loss/signs/real", "Loss/signs/heldout", "Progress/augment"),
    "Scores": ("Loss/scores/real", "Loss/scores/fake"),
    "Speed": ("Timing/images_per_sec",),
}
"""Which statistics share a drawing; what a run does not have is left out."""

router = APIRouter(prefix="/api/v1/runs", tags=["runs"])


@router.get("", responses=documented(401, 404, 429))
def list_runs(studio: StudioPart) -> dict[str, Any]:
    """The runs, the one written to last first."""
    runs = [_card(name, path) for name, path in _folders(studio).items()]
    return {"runs": sorted(runs, key=lambda run: -run["changed"])}


@router.get("/{name}", responses=documented(401, 404, 422, 429))
def show_run(name: str, studio: StudioPart) -> dict[str, Any]:
    """Curves, sample sheets and the doctor's words of one run."""
    folder = _folder(studio, name)
    record = read_run(folder)
    try:
        findings = [{"name": rule, **finding.to_dict()} for rule, finding in examine(record).items()]
    except CapriccioError as error:
        findings = [{"name": "unreadable", "severity": "warning", "what": str(error), "evidence": "", "advice": ""}]
    return {
        **_card(name, folder),
        "kimg": record.nimg / 1000,
        "total_kimg": record.config.total_kimg,
        "plots": _plots(record),
        "samples": [{"file": path.name, "kimg": _kimg(path)} for path in _samples(folder)],
        "findings": findings,
    }


@router.get("/{name}/samples/{file}", response_class=Response,
            responses={200: {"content": {"image/png": {}}}, **documented(401, 404, 429)})  # fmt: skip
def sample(name: str, file: str, studio: StudioPart) -> FileResponse:
    """One sheet of samples."""
    sheets = {path.name: path for path in _samples(_folder(studio, name))}
    if file not in sheets:
        raise Problem(404, "This run has no such sheet of samples.")
    return FileResponse(sheets[file], media_type="image/png", headers={"Cache-Control": "private, max-age=60"})


def _folders(studio: Studio) -> dict[str, Path]:
    root = studio.settings.runs
    if root is None or not root.is_dir():
        return {}
    if (root / "config.yaml").is_file():
        return {root.name or "run": root}
    found = {path.parent.name: path.parent for path in sorted(root.glob("*/config.yaml"))[:MAX_RUNS]}
    return dict(found)


def _folder(studio: Studio, name: str) -> Path:
    folders = _folders(studio)
    if name not in folders:
        raise Problem(404, "There is no such run here; /api/v1/runs lists them.")
    return folders[name]


def _card(name: str, folder: Path) -> dict[str, Any]:
    stats = folder / "stats.jsonl"
    changed = (stats if stats.is_file() else folder).stat().st_mtime
    sheets = _samples(folder)
    return {
        "name": name,
        "changed": changed,
        "going": time.time() - changed < GOING_SECONDS,
        "last_sample": sheets[-1].name if sheets else None,
        "last_kimg": _kimg(sheets[-1]) if sheets else None,
    }


def _samples(folder: Path) -> list[Path]:
    return sorted((folder / "samples").glob("fakes-*.png"))


def _kimg(path: Path) -> float:
    digits = path.stem.removeprefix("fakes-")
    return float(digits) if digits.isdecimal() else math.nan


def _plots(record: RunRecord) -> list[dict[str, Any]]:
    ticks = record.ticks
    plots = []
    for title, names in CURVES.items():
        curves = [{"name": name, "points": points} for name in names if (points := _points(ticks, name))]
        if curves:
            plots.append({"title": title, "curves": curves})
    return plots


def _points(ticks: Sequence[Tick], name: str) -> list[tuple[float, float]]:
    points = [(tick.nimg / 1000, value) for tick in ticks if (value := tick.mean(name)) is not None]
    points = [point for point in points if math.isfinite(point[1])]
    stride = max(1, -(-len(points) // MAX_POINTS))
    return points[::stride]
