"""``capriccio detect IMG... --model M``: did this network make these pictures?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from capriccio.cli.parser import DEVICE_HELP, CommandParser, add_precision, at_least, checked_path
from capriccio.cli.progress import shown_measuring, shown_progress
from capriccio.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from capriccio.detection.detect import Judged
    from capriccio.detection.detector import Detector, Verdict
    from capriccio.processes import Processes


def run(argv: Sequence[str]) -> int:
    """Judge the pictures for every model, print the verdicts, write the page."""
    asked = _parser().read(argv)
    if not asked.pictures:
        raise UsageError("name at least one picture or a folder of them.")
    at_least("--batch", asked.batch)
    if asked.fdr is not None and not 0 < asked.fdr < 1:
        raise UsageError(f"--fdr lies between 0 and 1, got {asked.fdr}.")
    report_path = checked_path(asked.report, ".html", "--report")
    from capriccio.devices import choose_device
    from capriccio.inversion.targets import find_pictures
    from capriccio.processes import joined_processes
    from capriccio.rendering.report import save_report
    from capriccio.rendering.verdicts import verdict_report

    paths = find_pictures(asked.pictures)
    by_model: list[tuple[str, list[Verdict]]] = []
    reports: list[Path] = []
    device = choose_device(asked.device)
    with joined_processes(device) as processes:
        for number, source in enumerate(asked.model or [None]):
            detector, judged = _judged(asked, source, paths, device, processes)
            if not processes.is_main:
                continue
            judged = _completed(judged, detector.model.model_hash, asked.fdr)
            if report_path is not None:
                path = report_path if number == 0 else report_path.with_stem(f"{report_path.stem}-{number + 1}")
                title = f"Did {source or 'the bundled model'} make these pictures?"
                save_report(path, verdict_report(judged, detector.calibration, title))
                reports.append(path)
            by_model.append((f"{source} ({detector.model.model_hash})", [j.verdict for j in judged]))
    if not processes.is_main:
        return 0
    everything = [verdict for _, verdicts in by_model for verdict in verdicts]
    if asked.json:
        print(json.dumps([v.to_dict() for v in everything], ensure_ascii=False, allow_nan=False))
    else:
        _tell(by_model, reports)
    return int(asked.fail_on is not None and any(v.verdict == asked.fail_on for v in everything))


def _judged(
    asked: Namespace, source: str | None, paths: Sequence[Path], device: torch.device, processes: Processes
) -> tuple[Detector, list[Judged]]:
    """Return the detector of a model and its verdicts, in the order of ``paths``, of which each process takes some."""
    from capriccio.data.cache import cache_folder
    from capriccio.detection.calibrate import stored_calibration
    from capriccio.detection.detect import judge_targets
    from capriccio.detection.detector import Detector
    from capriccio.inversion.targets import open_targets
    from capriccio.loading.model import load

    model = load(source, device=device, precision=asked.precision)
    stored = stored_calibration(model, cache_folder(), name=source or "MODEL")
    with shown_measuring() as measuring:
        detector = Detector(
            model,
            stored.calibration,
            encoder=stored.encoder,
            level=asked.level,
            measuring=measuring if processes.is_main else None,
        )
    if processes.is_main and asked.level < (least := detector.calibration.least_level) < 1:
        print(f"At a level of {asked.level:g} nothing can be called made: the {len(detector.calibration.real)} "
              f"photographs of the calibration tell levels from {least:.2g} on.", file=sys.stderr)  # fmt: skip
    targets = list(open_targets(paths[processes.rank :: processes.world_size], model.shape))
    with shown_progress("judging") as progress:
        mine = judge_targets(detector, targets, asked.batch, progress if processes.is_main else None,
                             shown=asked.report is not None)  # fmt: skip
    parts = processes.gather(mine)
    return detector, [parts[i % len(parts)][i // len(parts)] for i in range(len(paths))]


def _completed(judged: Sequence[Judged], model_hash: str, fdr: float | None) -> list[Judged]:
    """Add what the files say about themselves; where a false discovery rate is asked for, accuse by that instead."""
    from capriccio.detection.detector import accused_at_fdr
    from capriccio.rendering.verdicts import said_of_itself

    verdicts = [j.verdict for j in judged]
    accused = [True] * len(judged) if fdr is None else accused_at_fdr([v.p_not_made for v in verdicts], fdr)
    completed = []
    for one, may_accuse in zip(judged, accused, strict=True):
        verdict = one.verdict
        if verdict.verdict != "error":
            verdict = replace(verdict, provenance=said_of_itself(verdict.file, model_hash))
        if verdict.verdict == "made" and not may_accuse:
            verdict = replace(verdict, verdict="undecided")
        completed.append(replace(one, verdict=verdict))
    return completed


def _tell(by_model: Sequence[tuple[str, Sequence[Verdict]]], reports: Sequence[Path]) -> None:
    """Print the verdicts in words, and what must be known to read them."""
    from capriccio.detection.detector import BASE_RATES
    from capriccio.rendering.verdicts import IN_WORDS

    for name, verdicts in by_model:
        if len(by_model) > 1:
            print(f"Asked of {name}:")
        for v in verdicts:
            numbers = "" if v.error else f"  score {v.score:+.2f}  p_made {v.p_made:.3f}  p_not_made {v.p_not_made:.3f}"
            told = f" ({v.provenance})" if v.provenance else ""
            print(f"{v.file}: {IN_WORDS[v.verdict]}{numbers}{told}{': ' + v.error if v.error else ''}")
    if any(not v.error for _, verdicts in by_model for v in verdicts):
        print(BASE_RATES)
    for report in reports:
        print(f"With reconstructions: '{report}'.")


def _parser() -> CommandParser:
    parser = CommandParser(
        "detect",
        "Tell whether pictures were made by a network, from how well it can reconstruct them, with error rates.",
        "IMG... [--model M] [--json] [flags]",
    )
    parser.add_argument("pictures", type=str, nargs="*", help="Pictures, or folders of them.")
    parser.add_argument(
        "-m", "--model", type=str, action="append", default=None,
        help="Calibrated snapshot, run folder or bundled model. Repeatable: which of them made it.",
    )  # fmt: skip
    parser.add_argument("--level", type=float, default=0.01, help="Share of photographs that may be called made.")
    parser.add_argument(
        "--fdr", type=float | None, default=None, help="For folders: share of the accused that may be innocent."
    )
    parser.add_argument("--report", type=str | None, default=None, help="HTML page with reconstructions.")
    parser.add_argument(
        "--fail-on", type=Literal["made", "not-made", "undecided", "out-of-domain", "error"] | None, default=None,
        help="Exit with 1 if any picture gets this verdict; else the exit code says nothing about verdicts.",
    )  # fmt: skip
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    add_precision(parser, "Of the highest levels; bf16 is faster. The precision must be that of 'capriccio calibrate'.")
    parser.add_argument("--batch", type=int, default=16, help="Pictures at once; no result depends on it.")
    parser.add_argument("--json", action="store_true", help="Print the verdicts as one JSON document.")
    return parser
