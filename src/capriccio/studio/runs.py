"""Training runs under a folder: followed through their files, never through the training itself.

A name in an address is looked for among the names that are there; it never becomes part of a path.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from capriccio.doctor.examination import examine
from capriccio.doctor.record import METRICS, METRICS_NIMG, RunRecord, Span, Tick, read_run
from capriccio.errors import CapriccioError
from capriccio.run_layout import RunLayout
from capriccio.studio.answers import CurveFacts, FindingFacts, PlotFacts, RunCard, RunDetail, RunList, SampleFacts
from capriccio.studio.problems import Problem, documented
from capriccio.studio.service import Studio, StudioPart

MAX_POINTS = 400
"""Points of a curve that are sent; screens have few more."""

MAX_RUNS = 200
"""Runs that are listed, those written to last, and whose records are kept in memory."""

GOING_SECONDS = 900.0
"""A run that wrote within this time, and has not reached its aim, is taken to go on."""

CURVES = {
    "Losses": {"Loss/G/loss": "generator", "Loss/D/loss": "discriminator"},
    "Overfitting": {
        "Progress/r_t": "r_t, by signs",
        "Progress/r_v": "r_v, by held-out pictures",
        "Progress/augment": "p of augmentation",
    },
    "Scores": {
        "Loss/scores/real": "trained on",
        "Loss/scores/heldout": "held out",
        "Loss/scores/fake": "generated",
    },
    "Regularisers": {"Loss/r1_penalty": "R1 penalty", "Loss/pl_penalty": "path length penalty"},
    "Speed, images a second": {"Timing/images_per_sec": "images a second"},
}
"""Which statistics share a drawing, and what they are called; what a run does not have is left out."""

router = APIRouter(prefix="/api/v1/runs", tags=["runs"])


@router.get("", responses=documented(401, 404, 429))
def list_runs(studio: StudioPart) -> RunList:
    """The runs, the one written to last first."""
    runs = [RunCard(**_card(name, path)) for name, path in _folders(studio).items()]
    return RunList(runs=sorted(runs, key=lambda run: -run.changed))


@router.get("/{name}", responses=documented(401, 404, 422, 429))
def show_run(name: str, studio: StudioPart) -> RunDetail:
    """Curves, sample sheets and the doctor's words of one run."""
    folder = _folder(studio, name)
    record = _RECORDS.of(folder)
    try:
        findings = [FindingFacts(name=rule, **finding.to_dict()) for rule, finding in examine(record).items()]  # type: ignore[arg-type]
    except CapriccioError as error:
        findings = [FindingFacts(name="unreadable", severity="warning", what=str(error), evidence="", advice="")]
    return RunDetail(
        **_card(name, folder),
        best=_best(folder),
        plots=_metric_plots(record.ticks) + _plots(record.ticks),
        samples=[SampleFacts(file=path.name, kimg=kimg) for kimg, path in record.layout.sheets()],
        findings=findings,
    )


@router.get("/{name}/samples/{file}", response_class=Response,
            responses={200: {"content": {"image/png": {}}}, **documented(401, 404, 429)})  # fmt: skip
def sample(name: str, file: str, studio: StudioPart) -> FileResponse:
    """One sheet of samples."""
    sheets = {path.name: path for _, path in RunLayout(_folder(studio, name)).sheets()}
    if file not in sheets:
        raise Problem(404, "This run has no such sheet of samples.")
    return FileResponse(sheets[file], media_type="image/png", headers={"Cache-Control": "private, max-age=60"})


# ---- folders


def _folders(studio: Studio) -> dict[str, Path]:
    root = studio.settings.runs
    if root is None or not root.is_dir():
        return {}
    if RunLayout(root).config.is_file():
        return {root.name or "run": root}
    folders = sorted((path.parent for path in root.glob("*/config.yaml")), key=_written, reverse=True)
    return {folder.name: folder for folder in folders[:MAX_RUNS]}


def _folder(studio: Studio, name: str) -> Path:
    folders = _folders(studio)
    if name not in folders:
        raise Problem(404, "There is no such run here; /api/v1/runs lists them.")
    return folders[name]


def _written(folder: Path) -> tuple[float, int]:
    """Return when a run wrote last, in seconds since 1970, and how long its statistics are, in bytes."""
    run = RunLayout(folder)
    found = (run.statistics if run.statistics.is_file() else run.config).stat()
    return found.st_mtime, found.st_size


class _Records:
    """What runs tell, one record a folder; read again when the run has written."""

    def __init__(self) -> None:
        self._read: OrderedDict[Path, tuple[tuple[float, int], RunRecord]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, folder: Path) -> RunRecord:
        """Return the record of a folder. Raises: RunError (and its kinds) if it cannot be read."""
        written = _written(folder)
        with self._lock:
            known = self._read.get(folder)
        if known is not None and known[0] == written:
            return known[1]
        record = read_run(folder)
        with self._lock:
            self._read[folder] = written, record
            self._read.move_to_end(folder)
            while len(self._read) > MAX_RUNS:
                self._read.popitem(last=False)
        return record


_RECORDS = _Records()


def _card(name: str, folder: Path) -> dict[str, Any]:
    changed, _ = _written(folder)
    sheets = RunLayout(folder).sheets()
    try:
        record: RunRecord | None = _RECORDS.of(folder)
    except CapriccioError:  # listed all the same; opening it tells what is wrong
        record = None
    done = record is not None and record.nimg / 1000 >= record.config.total_kimg
    return {
        "name": name,
        "changed": changed,
        "going": not done and time.time() - changed < GOING_SECONDS,
        "kimg": record.nimg / 1000 if record else None,
        "total_kimg": record.config.total_kimg if record else None,
        "last_sample": sheets[-1][1].name if sheets else None,
        "last_kimg": float(sheets[-1][0]) if sheets else None,
    }


def _best(folder: Path) -> str | None:
    """Return which snapshot is the best one, as the run itself notes it."""
    try:
        best = json.loads(RunLayout(folder).best.read_text(encoding="utf-8"))
        return f"{best['snapshot']}, {best['number']} {float(best['value']):.4g}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ---- curves


def _plots(ticks: Sequence[Tick]) -> list[PlotFacts]:
    plots = []
    for title, names in CURVES.items():
        curves = [CurveFacts(name=called, points=points) for name, called in names.items()
                  if (points := _points(ticks, name))]  # fmt: skip
        if curves:
            plots.append(PlotFacts(title=title, curves=curves))
    return plots


def _metric_plots(ticks: Sequence[Tick]) -> list[PlotFacts]:
    """Return a drawing for each metric; the numbers of one (precision, recall) share it."""
    names = {name for tick in ticks for name in tick.values if name.startswith(METRICS) and name != METRICS_NIMG}
    plots: dict[str, PlotFacts] = {}
    for name in sorted(names):
        number = name.removeprefix(METRICS)
        metric, _, part = number.rpartition("_") if number.endswith(_PARTS) else (number, "", number)
        if points := _points(ticks, name):
            plots.setdefault(metric, PlotFacts(title=metric, curves=[])).curves.append(
                CurveFacts(name=part, points=points)
            )
    return list(plots.values())


_PARTS = ("_precision", "_recall", "_density", "_coverage")


def _points(ticks: Sequence[Tick], name: str) -> list[tuple[float, float]]:
    points = Span(ticks).curve(name)
    stride = max(1, -(-len(points) // MAX_POINTS))
    return points[::stride]
