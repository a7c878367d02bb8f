"""The paper's ablation table from the runs of ``scripts/study.py``: quality, smoothness and coverage of every row.

    python scripts/study.py PHOTOS --out runs/study
    python scripts/ablation.py runs/study PHOTOS --weights squeeze=squeezenet.pth --weights lpips-squeeze=squeeze.pth

Each row is measured once and kept in ``OUT/ROW.json`` with its protocol cards; it is measured again when its network or
the metrics asked for are others. Rows measured in two ways are refused. Rows called ``NAME-seedN`` are repetitions of
NAME: their spread is the noise, and a star marks numbers that a repetition would hardly reach (outside the 95 %
prediction interval). Writes ``OUT/ablation.md``.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path

from capriccio.errors import UsageError
from capriccio.loading.model import load
from capriccio.metrics.evaluation import Evaluator
from capriccio.metrics.names import higher_is_better, parse_metrics
from capriccio.metrics.results import Evaluation, compare, read_evaluation
from capriccio.metrics.settings import Settings
from capriccio.perception.weights import parse_sources

METRICS = "fd_squeeze5k_full,fd_discriminator5k_full,fd_random5k_full,ppl2_wend_squeeze_1k,pr_squeeze5k3_full"
STUDENT_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36}
"""97.5 % points of Student's distribution, by the number of repetitions."""


def measured(evaluator: Evaluator, run: Path, out: Path) -> Evaluation:
    """Return the numbers of a run, from its file if this network was measured by these metrics before."""
    path = out / f"{run.name}.json"
    model = load(run, device="cpu")
    if path.exists():
        kept = read_evaluation(path)
        fresh = {m.name for m in evaluator.metrics} == {r.name for r in kept.results}
        if kept.subject_hash == model.model_hash and fresh:
            return kept
    evaluation = evaluator.measure(model.generator, name=run.name, model_hash=model.model_hash)
    path.write_text(json.dumps(evaluation.to_dict(), ensure_ascii=False))
    return evaluation


def same_protocol(rows: dict[str, Evaluation]) -> None:
    """Raise UsageError if two rows were measured in two ways: their numbers could not stand in one table."""
    first, *others = rows.values()
    for other in others:
        compare(first, other)


def base_of(name: str) -> str:
    return re.sub(r"-seed\d+$", "", name)


def noise_band(values: list[float]) -> float | None:
    """Return how far another repetition may lie from the mean, with 95 % probability; None for a single value."""
    n = len(values)
    if n < 2:
        return None
    return STUDENT_T.get(n, 2.26) * statistics.stdev(values) * (1 + 1 / n) ** 0.5


def rounded(value: float) -> str:
    """Return two digits of ``value``, without an exponent."""
    return f"{float(f'{value:.2g}'):g}"


def table(rows: dict[str, Evaluation], about: dict[str, str]) -> str:
    """Return the Markdown table, repetitions in one row as mean ± deviation."""
    numbers = list(next(iter(rows.values())).values)
    groups: dict[str, list[str]] = {}
    for name in rows:
        groups.setdefault(base_of(name), []).append(name)
    baseline = max(groups, key=lambda name: len(groups[name]))
    repeated = {n: [rows[name].values[n] for name in groups[baseline]] for n in numbers}
    lines = [
        "| row | what changes | " + " | ".join(f"{n} {'↑' if higher_is_better(n) else '↓'}" for n in numbers) + " |",
        "|---|---|" + "---:|" * len(numbers),
    ]
    for group, names in groups.items():
        cells = []
        for n in numbers:
            values = [rows[name].values[n] for name in names]
            mean, band = statistics.mean(values), noise_band(repeated[n])
            spread = f" ± {rounded(statistics.stdev(values))}" if len(values) > 1 else ""
            star = "\\*" if group != baseline and band and abs(mean - statistics.mean(repeated[n])) > band else ""
            cells.append(f"{mean:.4g}{spread}{star}")
        told = f"{group} ({len(names)} seeds)" if len(names) > 1 else group
        lines.append(f"| {told} | {about.get(group, '')} | {' | '.join(cells)} |")
    bands = [noise_band(repeated[n]) for n in numbers]
    if bands[0] is not None:
        cells = [f"*{rounded(band)}*" for band in bands if band is not None]
        lines.append(f"| *noise band* | *± of another seed, 95 %* | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of the study")
    parser.add_argument("data", type=Path, help="the pictures the rows were trained on")
    parser.add_argument("--out", type=Path, help="folder for numbers and table; the study's own if not given")
    parser.add_argument("--rows", help="names of rows, separated by commas; all finished ones if not given")
    parser.add_argument("--metrics", default=METRICS)
    parser.add_argument("--weights", action="append", default=[], metavar="KEY=PATH")
    parser.add_argument("--reference", help="snapshot whose discriminator is the ruler")
    arguments = parser.parse_args()
    out = arguments.out or arguments.study / "ablation"
    out.mkdir(parents=True, exist_ok=True)
    told = json.loads((arguments.study / "study.json").read_text())["rows"]
    about = {name: row["about"] for name, row in told.items()}
    names = arguments.rows.split(",") if arguments.rows else list(about)
    runs = [arguments.study / name for name in names]

    first = load(runs[0])
    evaluator = Evaluator(
        parse_metrics(arguments.metrics),
        first.shape,
        data=arguments.data,
        settings=Settings(batch=64),
        weights=parse_sources(arguments.weights),
        reference=arguments.reference,
    )
    rows = {}
    for run in runs:
        rows[run.name] = measured(evaluator, run, out)
        print(run.name, {name: round(value, 4) for name, value in rows[run.name].values.items()}, flush=True)
    try:
        same_protocol(rows)
    except UsageError as error:
        raise SystemExit(f"{error} Remove the files of '{out}' and measure all rows again.") from error
    text = table(rows, about)
    (out / "ablation.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
