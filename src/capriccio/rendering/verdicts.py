"""Verdicts on one page: pictures beside their reconstructions, where their scores lie, and what that does not prove."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from capriccio.detection.detect import Judged
from capriccio.detection.detector import BASE_RATES
from capriccio.detection.scoring import Calibration, Numbers
from capriccio.provenance import read_provenance
from capriccio.rendering.curves import Curve, Plot
from capriccio.rendering.grids import difference_of, enlarge, image_grid, picture_of
from capriccio.rendering.report import DataTable, Figure, Figures, Report, Section

NUM_BINS = 24
MOST_SHOWN = 200
"""Pictures shown on a page; the table has all."""

IN_WORDS = {
    "made": "made by this network",
    "not-made": "not made by this network",
    "undecided": "undecided: it scores like both",
    "out-of-domain": "out of domain: it scores like neither",
    "error": "could not be judged",
}


def said_of_itself(picture: str | os.PathLike[str] | Image.Image, model_hash: str) -> str:
    """Return what a picture file says about itself, in words, seen from one network; empty = nothing of ours."""
    record = read_provenance(picture)
    if record is None:
        return ""
    whose = "this network" if record.model_hash == model_hash else f"another network, {record.model_hash}"
    return f"its metadata says it was made by {whose}; metadata can be forged"


def verdict_sentence(verdict: str, p_not_made: float) -> str:
    """Return a verdict in plain words, with what it means; IN_WORDS has the short ones."""
    if verdict == "made":
        return (f"Made by this model. 1 in {max(1, round(1 / p_not_made)):,} real photographs of this kind would be "
                "reconstructed this well.")  # fmt: skip
    return {
        "not-made": "Not made by this model: its own pictures are reconstructed better than this one.",
        "undecided": "Undecided: photographs and pictures of this model are reconstructed about this well.",
        "out-of-domain": "Unlike both: neither this model's pictures nor the photographs it is compared with are "
        "reconstructed like this one, so nothing can be said.",
    }.get(verdict, "No verdict.")


def score_shares(calibration: Calibration, scores: Sequence[float] = ()) -> tuple[Numbers, dict[str, Numbers]]:
    """Return the edges of bins that hold all scores, and which share of each kind of pictures lies in each bin.

    The kinds are "made" and "real", known pictures, and "judged", those of ``scores``; one without pictures has zeros.
    """
    kinds = {"made": calibration.made, "real": calibration.real, "judged": np.asarray(scores, dtype=np.float64)}
    everything = np.concatenate(list(kinds.values()))
    edges = np.linspace(everything.min(), everything.max(), NUM_BINS + 1)
    return edges, {kind: np.histogram(of, edges)[0] / max(len(of), 1) for kind, of in kinds.items()}


def score_histogram(calibration: Calibration, scores: Sequence[float] = ()) -> Plot:
    """Return how known pictures score, as the paper's figure does for distances, and where ``scores`` lie."""
    edges, shares = score_shares(calibration, scores)
    centres = (edges[:-1] + edges[1:]) / 2
    names = {"made": "made by the network"}
    if len(calibration.real):
        names["real"] = "photographs"
    if len(scores):
        names["judged"] = "these pictures"
    curves = [
        Curve(name=name, points=list(zip(centres.tolist(), shares[kind].tolist(), strict=True)))
        for kind, name in names.items()
    ]
    return Plot(curves=curves, x_label="score (higher = more likely made)", y_label="share of pictures")


def verdict_table(judged: Sequence[Judged]) -> DataTable:
    """Return verdicts and numbers of pictures, a row for each."""
    rows = [
        [j.verdict.file, IN_WORDS[j.verdict.verdict], *(_number(getattr(j.verdict, n)) for n in _COLUMNS),
         j.verdict.provenance or j.verdict.error]
        for j in judged
    ]  # fmt: skip
    return DataTable(header=["file", "verdict", *_COLUMNS, "remarks"], rows=rows, caption="All pictures")


def verdict_sheet(judged: Sequence[Judged], *, scale: int = 1) -> Image.Image:
    """Return pictures in a row, their reconstructions below, and below those the differences, four times enlarged."""
    pairs = [(j.picture, j.reconstruction) for j in judged if j.picture is not None and j.reconstruction is not None]
    cells = [picture_of(picture) for picture, _ in pairs]
    cells += [picture_of(reconstruction) for _, reconstruction in pairs]
    cells += [difference_of(*pair) for pair in pairs]
    return image_grid([enlarge(cell, scale) for cell in cells], len(pairs))


def verdict_report(judged: Sequence[Judged], calibration: Calibration, title: str) -> Report:
    """Return the page."""
    known = [j.verdict.score for j in judged if j.verdict.verdict != "error"]
    shown = [j for j in judged if j.picture is not None and j.reconstruction is not None][:MOST_SHOWN]
    pictures = [
        Figures(
            figures=[
                Figure(image=picture_of(j.picture), caption=f"{j.verdict.file}: {IN_WORDS[j.verdict.verdict]}"),
                Figure(image=picture_of(j.reconstruction), caption="what the network can paint of it"),
                Figure(image=difference_of(j.picture, j.reconstruction), caption="difference, four times enlarged"),
            ]
        )
        for j in shown
        if j.picture is not None and j.reconstruction is not None
    ]
    return Report(
        title=title,
        sections=[
            Section(heading="Verdicts", blocks=[BASE_RATES, verdict_table(judged)]),
            Section(heading="Scores", blocks=[score_histogram(calibration, known)]),
            Section(heading="Reconstructions", blocks=list(pictures)),
        ],
    )


_COLUMNS = ("distance", "score", "p_made", "p_not_made")


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3g}"
